"""Tests of toolkit/checks/doctor/."""
