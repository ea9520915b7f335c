"""Benchmarks: each prints figures beside a ceiling measured in the same run, as a ratio."""
