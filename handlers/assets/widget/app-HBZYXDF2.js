/*! with streaming-markdown (c) Damian Tarnawski, MIT License */
