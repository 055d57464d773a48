"""Unit tests of the helpers of the live tests."""
