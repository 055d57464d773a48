"""Tests of toolkit/checks/."""
