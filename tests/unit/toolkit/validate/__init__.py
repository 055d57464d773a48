"""Tests of the checks on this repository's files."""
