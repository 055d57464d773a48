"""Tests of toolkit/core/."""
