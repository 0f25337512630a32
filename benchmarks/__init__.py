"""Measurements behind the numbers of docs/explanation/benchmarks.md; README.md says how to run them."""
