"""Faults that a test has ordered: by rule, counted, from a seed."""
