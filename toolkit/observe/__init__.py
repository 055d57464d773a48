"""Whether the observability of the running stack tells the truth.

Every module holds one kind of check against the live programs; each yields one `Result` for every thing that it looked
at. ``invoke observe.check`` runs them all, the smoke checks use some of them.
"""
