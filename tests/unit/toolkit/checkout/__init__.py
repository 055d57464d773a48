"""Tests of toolkit/checkout/."""
