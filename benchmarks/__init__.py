"""Measurements, each one command: absolute figures move with the machine, comparisons less."""
