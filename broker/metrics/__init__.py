"""Metrics for Prometheus: plain counters inside, text at the edge. One file per noun, each with its groups; `endpoints` chooses."""
