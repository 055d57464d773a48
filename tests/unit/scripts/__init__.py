"""Unit tests of the shell scripts."""
