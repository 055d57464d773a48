"""Unit tests of the backup service."""
