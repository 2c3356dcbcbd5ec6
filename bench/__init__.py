"""Figures that anyone can get again: `make bench`."""
