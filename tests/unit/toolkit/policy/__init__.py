"""Tests of toolkit/policy/."""
