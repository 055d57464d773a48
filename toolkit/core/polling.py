"""Polling with a timeout."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

NEVER = threading.Event()
"""An event that is never set, for callers without cancellation."""


class CheckError(Exception):
    """A service does not answer, or its answer is wrong."""


def until(
    what: str, look: Callable[[], T | None], seconds: float, pause: float = 0.1, stop: threading.Event = NEVER
) -> T:
    """Poll until ``look`` returns a true value, and return that value.

    Args:
        what: The expected event, for the error message.
        look: Returns a true value on success.
        seconds: The timeout.
        pause: The interval in seconds.
        stop: Cancels the wait once set by another thread.

    Raises:
        CheckError: the timeout expired, or the wait was cancelled.
    """
    deadline = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        if time.monotonic() > deadline:
            raise CheckError(f"timeout after {seconds:.0f} s waiting for {what}")
        if stop.wait(pause):
            raise CheckError("cancelled")


def until_solved(
    what: str,
    look: Callable[[], tuple[T, Sequence[str]]],
    seconds: float,
    pause: float = 1,
    stop: threading.Event = NEVER,
) -> T:
    """Poll until there are no problems, and return what was found.

    Args:
        what: The expected event, for the error message.
        look: Returns what was found, and the problems.
        seconds: The timeout.
        pause: The interval in seconds.
        stop: Cancels the wait once set by another thread.

    Raises:
        CheckError: as `until`, with the problems of the last look.
    """
    problems: list[str] = []

    def poll() -> tuple[T] | None:
        found, problems[:] = look()
        return None if problems else (found,)

    try:
        return until(what, poll, seconds, pause, stop)[0]
    except CheckError as error:
        if not problems:
            raise
        raise CheckError(f"{error}: {'; '.join(problems)}") from error
