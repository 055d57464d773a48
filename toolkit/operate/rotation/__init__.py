"""Replacing the credentials of a running stack."""
