"""Slots of concurrent probes: few for those that use the CPU, many for those that wait."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

BUSY_SECONDS = 0.25
"""A probe that has not ended after this time waits for its target."""
WAITING = 20
"""Probes that wait, for each slot."""


class Slots:
    """Limits how many probes begin at the same time, so that they do not take the CPU, and time, from each other.

    A probe that waits for its target leaves its slot to the next one. Targets that do not answer, all of which take
    their whole timeout, therefore do not delay the others.

    Args:
        concurrency: the number of slots.
    """

    def __init__(self, concurrency: int) -> None:
        self.limit = (1 + WAITING) * concurrency
        """The maximum number of concurrent probes."""
        self._all = _Places(self.limit)
        self._busy = _Places(concurrency)

    @asynccontextmanager
    async def slot(self, *, urgent: bool = False) -> AsyncIterator[None]:
        """Wait for a slot, and hold it until the end of the block, or for `BUSY_SECONDS`.

        Args:
            urgent: whether to get the next free slot, before all that are not urgent.
        """
        await self._all.take(urgent=urgent)
        try:
            await self._busy.take(urgent=urgent)
            holds = True

            def leave() -> None:
                nonlocal holds
                if holds:
                    holds = False
                    self._busy.leave()

            timer = asyncio.get_running_loop().call_later(BUSY_SECONDS, leave)
            try:
                yield
            finally:
                timer.cancel()
                leave()
        finally:
            self._all.leave()


class _Places:
    """A semaphore with two queues: those that wait urgently come first, in their order, then the others."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: tuple[deque[asyncio.Future[None]], ...] = (deque(), deque())

    async def take(self, *, urgent: bool) -> None:
        """Wait for a free place, and take it."""
        if self._free:
            self._free -= 1
            return
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[not urgent].append(given)
        try:
            await given
        except asyncio.CancelledError:
            if given.done() and not given.cancelled():
                self.leave()  # it was given in the same moment
            raise

    def leave(self) -> None:
        """Give the place to the next that waits."""
        for waiting in self._waiting:
            while waiting:
                if not (given := waiting.popleft()).done():
                    given.set_result(None)
                    return
        self._free += 1
