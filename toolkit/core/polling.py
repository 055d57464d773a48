"""Looking again and again until something is there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

NEVER = threading.Event()
"""For those whom nobody calls off."""


class CheckError(Exception):
    """The service does not answer, or not as it must."""


def until(
    what: str, look: Callable[[], T | None], seconds: float, pause: float = 0.1, stop: threading.Event = NEVER
) -> T:
    """What ``look`` finds, asked again until it finds something.

    Args:
        what: What is waited for, for the error.
        look: Returns something true once it is there.
        seconds: How long to go on.
        pause: Seconds between two looks.
        stop: Set by another thread, it ends the waiting.

    Raises:
        CheckError: it took longer, or was called off.
    """
    give_up = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        if time.monotonic() > give_up:
            raise CheckError(f"waited {seconds:.0f} s in vain for {what}")
        if stop.wait(pause):
            raise CheckError("called off")
