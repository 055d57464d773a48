"""Slots of concurrent probes: few for those that use the CPU, many for those that wait."""

import asyncio
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
        self._all = asyncio.Semaphore(self.limit)
        self._busy = asyncio.Semaphore(concurrency)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot, and hold it until the end of the block, or for `BUSY_SECONDS`."""
        async with self._all:
            await self._busy.acquire()
            holds = True

            def leave() -> None:
                nonlocal holds
                if holds:
                    holds = False
                    self._busy.release()

            timer = asyncio.get_running_loop().call_later(BUSY_SECONDS, leave)
            try:
                yield
            finally:
                timer.cancel()
                leave()
