"""Tests of the toolkit; they need no engine."""
