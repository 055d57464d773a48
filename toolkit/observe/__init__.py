"""Checks of the running stack's observability against its configuration.

Every module has one kind of check and yields one finding per subject. ``invoke observe.check`` runs them all; the smoke
checks use some of them.
"""
