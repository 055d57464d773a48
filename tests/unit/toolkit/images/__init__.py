"""Tests of toolkit/images/."""
