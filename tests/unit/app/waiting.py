"""Waiting for what happens beside a test."""

import asyncio
from collections.abc import Callable


async def until(holds: Callable[[], object]) -> None:
    """Let other tasks run until it holds, however busy the machine is.

    Raises:
        TimeoutError: it does not within 30 seconds.
    """
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)
