"""Tests of toolkit/operate/."""
