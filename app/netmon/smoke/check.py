"""The interface of smoke checks, and their shared parts."""

from collections.abc import Awaitable, Callable

from netmon.settings import Settings

TIMEOUT_SECONDS = 10.0
"""Timeout of a check."""

Check = Callable[[Settings, str], Awaitable[str]]
"""Performs an operation with a token that is unique to this run and returns a summary; raises on failure."""


class SmokeError(Exception):
    """The service answered, but not as expected."""


def expect(condition: bool, otherwise: str) -> None:
    """Assert a condition.

    Raises:
        SmokeError: the condition does not hold; the message is `otherwise`.
    """
    if not condition:
        raise SmokeError(otherwise)
