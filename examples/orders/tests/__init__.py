"""Tests of shop and worker."""
