"""Rotation of the credentials of a running stack."""
