"""Waiting for background work."""

import asyncio
from collections.abc import Callable


async def until(holds: Callable[[], object]) -> None:
    """Wait until `holds`, even on a busy machine.

    Raises:
        TimeoutError: the condition does not hold within 30 seconds.
    """
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)
