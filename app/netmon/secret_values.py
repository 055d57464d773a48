"""Values that may be credentials: masked in responses, or references to secrets that the worker alone reads."""

import re
from collections import defaultdict
from collections.abc import Iterator
from urllib.parse import quote

MASK = "•••"
"""Returned instead of a value that may be a credential."""
SECRET = "secret:"  # noqa: S105 - a prefix
"""A value with this prefix names a file, whose content the prober uses (`netmon.probing.secrets`)."""

_QUOTED_MASK = quote(MASK)
"""The mask in a URL that was normalised."""
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


def masked_url(url: str) -> str:
    """A URL of HTTP with the values of its query masked, and without user and password; other addresses as they are."""
    if not url.startswith(("http://", "https://")):
        return url
    address, mark, _query = url.partition("?")
    shown = (f"{name}={MASK}" if name is not None else value and MASK for name, value in _parameters(url))
    return re.sub(r"(?<=://)[^/?#]*@", "", address) + mark + "&".join(shown)


def has_masks(url: str) -> bool:
    """Whether values of the query are masked."""
    return any(value in (MASK, _QUOTED_MASK) for _, value in _parameters(url))


def unmasked_url(url: str, stored: str) -> str | None:
    """A URL with its masked values replaced by those of a stored one.

    Parameters are matched by name, and those with the same name, or without one, by their order.

    Returns:
        None if the stored URL lacks one of them.
    """
    known: defaultdict[str | None, list[str]] = defaultdict(list)
    for name, value in reversed([*_parameters(stored)]):
        known[name].append(value)
    found = []
    for name, value in _parameters(url):
        former = known[name].pop() if known[name] else None
        if value in (MASK, _QUOTED_MASK):
            if former is None:
                return None
            value = former  # noqa: PLW2901 - the value that is used
        found.append(value if name is None else f"{name}={value}")
    return "?".join([url.partition("?")[0], "&".join(found)])


def _parameters(url: str) -> Iterator[tuple[str | None, str]]:
    """The names and values in the query of a URL, as they are written; the name is None without a `=`."""
    if "?" in url:
        for parameter in url.partition("?")[2].split("&"):
            name, mark, value = parameter.partition("=")
            yield (name, value) if mark else (None, name)
