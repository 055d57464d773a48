"""A token bucket: a rate, of which the unused part is available as a burst."""

import time

BURST_SECONDS = 10
"""The unused rate of this many seconds is available as a burst."""


class TokenBucket:
    """`rate` uses a second, with a burst of BURST_SECONDS, in one process."""

    __slots__ = ("_at", "_available", "_capacity", "_rate")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._capacity = self._available = max(rate * BURST_SECONDS, 1)
        self._at = time.monotonic()

    def wait_seconds(self) -> float:
        """The time until a use is available; 0 if there is one."""
        now = time.monotonic()
        self._available = min(self._available + (now - self._at) * self._rate, self._capacity)
        self._at = now
        return max(1 - self._available, 0) / self._rate

    def take(self) -> None:
        """Use one of those that are available."""
        self._available -= 1
