"""Drills, long fault runs: `nox -s drills` runs them and prints a table of their outcomes."""
