"""Waiting for others: deadlines that hold, and connections that are kept up."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from netmon.logs import logger

T = TypeVar("T")

FIRST_DELAY = 0.25
LONGEST_DELAY = 2.0
STABLE_AFTER = 10.0
"""Seconds after which a connection counts as good, so that its next failure is retried at once."""
REMIND_EVERY = 60.0
"""Seconds between two log lines about the same outage."""

log = logger(__name__)
_abandoned: set[asyncio.Future[Any]] = set()


async def deadline(work: Awaitable[T], seconds: float) -> T:
    """The result of `work`, or TimeoutError after `seconds`.

    Unlike `asyncio.timeout`, it does not wait for the cancelled work to end: a database client that asks a hanging
    server to cancel a query would otherwise make its caller hang as well.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if task.done():
        return task.result()
    abandon(task)
    raise TimeoutError(f"no answer within {seconds:g} s")


def abandon(task: "asyncio.Future[Any]") -> None:
    """Cancel a task and let it end whenever it can, its outcome ignored."""
    _abandoned.add(task)
    task.add_done_callback(_forget)
    task.cancel()


def _forget(task: "asyncio.Future[Any]") -> None:
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()


class Backoff:
    """The wait between attempts to reach a service: 0.25 s at first, doubling up to 2 s.

    An outage is logged when it begins and once a minute, not at every attempt.
    """

    def __init__(self, dependency: str) -> None:
        self._dependency = dependency
        self._delay = FIRST_DELAY
        self._failed_at = 0.0
        self._reminded_at = float("-inf")

    async def failed(self, reason: str) -> None:
        """Note a failure and wait before the next attempt."""
        now = time.monotonic()
        if now - self._failed_at > STABLE_AFTER:
            self._delay, self._reminded_at = FIRST_DELAY, float("-inf")
        if now - self._reminded_at > REMIND_EVERY:
            log.warning("service away, trying again", dependency=self._dependency, reason=reason)
            self._reminded_at = now
        await asyncio.sleep(self._delay)
        self._failed_at = time.monotonic()
        self._delay = min(2 * self._delay, LONGEST_DELAY)


async def keep_up(dependency: str, session: Callable[[], Awaitable[None]]) -> None:
    """Run `session` again and again, for ever: it connects, works, and ends or fails when the connection is lost."""
    backoff = Backoff(dependency)
    while True:
        try:
            await session()
        except Exception as error:
            await backoff.failed(describe(error))
        else:
            await backoff.failed("connection closed")


def describe(error: BaseException) -> str:
    """An error in one short line."""
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@asynccontextmanager
async def running(*background: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines beside the block and cancel them at its end; one that fails ends the block with its error."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in background]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
