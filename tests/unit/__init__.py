"""Tests that start nothing: the one place where commands are run is patched."""
