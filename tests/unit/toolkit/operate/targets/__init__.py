"""Tests of targets as code."""
