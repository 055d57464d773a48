"""Unit tests of the scripts that run in containers."""
