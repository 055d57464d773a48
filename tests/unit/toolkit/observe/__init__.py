"""Tests of toolkit/observe/."""
