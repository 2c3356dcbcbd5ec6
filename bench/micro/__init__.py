"""Micro benchmarks: `make bench-micro`."""
