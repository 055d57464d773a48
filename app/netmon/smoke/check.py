"""What a smoke check is, and what every one needs."""

from collections.abc import Awaitable, Callable

from netmon.settings import Settings

TIMEOUT = 10.0
"""Seconds for one check."""

Check = Callable[[Settings, str], Awaitable[str]]
"""Does its operation with a token that is unique to this run and returns what it did; raises if anything is amiss."""


class SmokeError(Exception):
    """The service answered, but not as it must."""


def expect(condition: bool, otherwise: str) -> None:
    """Return if the condition holds.

    Raises:
        SmokeError: with the text `otherwise`.
    """
    if not condition:
        raise SmokeError(otherwise)
