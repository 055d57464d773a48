"""Targets of other monitors."""
