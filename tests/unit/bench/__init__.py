"""Tests of the benchmarks: what makes them refuse to give figures."""
