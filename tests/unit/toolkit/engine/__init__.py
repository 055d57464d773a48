"""Tests of toolkit/engine/."""
