"""Upgrades to another release of the checkout, and back."""
