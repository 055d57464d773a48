"""Values that may be credentials: masked in responses, or references to secrets that the worker alone reads."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from netmon.url_targets import MAX_URL_LENGTH

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
    """A URL of HTTP with the values of its query masked, and without user and password; other addresses as they are.

    If masks make it longer than a URL may be, the query is one mask.
    """
    if not url.startswith(("http://", "https://")):
        return url
    address, mark, _query = url.partition("?")
    address = re.sub(r"(?<=://)[^/?#]*@", "", address)
    shown = (f"{name}={MASK}" if name is not None else value and MASK for name, value in _parameters(url))
    found = address + mark + "&".join(shown)
    return found if len(found) <= MAX_URL_LENGTH else f"{address}?{MASK}"


def with_masks(url: str) -> str:
    """A normalised URL with the masks in its query as they are shown."""
    if _QUOTED_MASK not in url:
        return url
    found = ((name, MASK if value == _QUOTED_MASK else value) for name, value in _parameters(url))
    return _with_parameters(url, found)


def has_masks(url: str) -> bool:
    """Whether values of the query are masked."""
    return any(value == MASK for _, value in _parameters(url))


def unmasked_url(url: str, stored: str) -> str | None:
    """A URL with its masked values replaced by those of a stored one.

    Parameters are matched by name, and those with the same name, or without one, by their order.

    Returns:
        None if the stored URL lacks one of them.
    """
    if url.partition("?")[2] == masked_url(stored).partition("?")[2]:
        return _with_parameters(url, _parameters(stored))
    known: defaultdict[str | None, list[str]] = defaultdict(list)
    for name, value in reversed([*_parameters(stored)]):
        known[name].append(value)
    found = []
    for name, value in _parameters(url):
        former = known[name].pop() if known[name] else None
        if value == MASK and former is None:
            return None
        found.append((name, former if former is not None and value == MASK else value))
    return _with_parameters(url, found)


def _with_parameters(url: str, parameters: Iterable[tuple[str | None, str]]) -> str:
    query = "&".join(value if name is None else f"{name}={value}" for name, value in parameters)
    return f"{url.partition('?')[0]}?{query}"


def _parameters(url: str) -> Iterator[tuple[str | None, str]]:
    """The names and values in the query of a URL, as they are written; the name is None without a `=`."""
    if "?" in url:
        for parameter in url.partition("?")[2].split("&"):
            name, mark, value = parameter.partition("=")
            yield (name, value) if mark else (None, name)
