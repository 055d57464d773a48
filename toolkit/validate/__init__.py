"""Checks of the files in this repository: what is written is what the platform's decisions say.

Each check is a function that yields one finding for every place it looked at, so that the runner can tell "all is
well" from "nothing was looked at". ``python -m toolkit.validate`` runs them all.
"""
