"""Tests of toolkit/tasks/."""
