"""Benchmarks, one command each. Figures depend on the machine: compare runs side by side."""
