"""Static checks of this repository's files.

Each check is a function that yields one finding for every place it inspected, so that the runner can distinguish "no
problem" from "nothing inspected". ``python -m toolkit.validate`` runs them all.
"""
