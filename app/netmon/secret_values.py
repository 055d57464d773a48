"""Values that may be credentials: masked in responses, or references to secrets that the worker alone reads."""

import re

MASK = "•••"
"""Returned instead of a value that may be a credential."""
SECRET = "secret:"  # noqa: S105 - a prefix
"""A value with this prefix names a file, whose content the prober uses (`netmon.probing.secrets`)."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


def secret_name(value: str) -> str | None:
    """The name of the secret that a value refers to; None if the value is used as it is."""
    return value.removeprefix(SECRET) if value.startswith(SECRET) else None


def valid_reference(value: str) -> str:
    """The value, if it is no reference or a valid one.

    Raises:
        ValueError: it is a reference that names no file.
    """
    name = secret_name(value)
    if name is not None and not _NAME.fullmatch(name):
        raise ValueError(
            f"{SECRET} must be followed by the name of a file in secrets/targets: letters, digits, '.', '_' and '-', "
            "starting with a letter or a digit, at most 100 characters"
        )
    return value


def masked(value: str) -> str:
    """The mask instead of a value; a reference to a secret reveals none, and stays."""
    return MASK if secret_name(value) is None else value
