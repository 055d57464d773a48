"""Tests of the toolkit: no engine is needed."""
