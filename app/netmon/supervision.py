"""Supervision of I/O: deadlines that hold even if cancellation hangs, reconnects with backoff, background tasks."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from pydantic import ValidationError

from netmon.logs import logger

T = TypeVar("T")

FIRST_DELAY_SECONDS = 0.25
MAX_DELAY_SECONDS = 2.0
STABLE_AFTER_SECONDS = 10.0
"""A connection that lasted this long counts as stable: after its next failure the backoff starts over."""
REMINDER_SECONDS = 60.0
"""Time between two log lines about the same outage."""

log = logger(__name__)
_abandoned: set[asyncio.Future[Any]] = set()


async def deadline(work: Awaitable[T], seconds: float) -> T:
    """Await `work` for at most `seconds`.

    Unlike `asyncio.timeout`, this does not wait for the cancelled work to end: a database client that asks a hanging
    server to cancel a query would make its caller hang as well.

    Raises:
        TimeoutError: the work did not finish in time.
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
    raise TimeoutError(f"no response within {seconds:g} s")


def abandon(task: "asyncio.Future[Any]") -> None:
    """Cancel a task without waiting for it to end; its result is ignored."""
    _abandoned.add(task)
    task.add_done_callback(_forget)
    task.cancel()


def _forget(task: "asyncio.Future[Any]") -> None:
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()


class Backoff:
    """Exponential backoff between attempts to reach a dependency: from 0.25 s to 2 s.

    An outage is logged when it starts and once per minute, not at every attempt.
    """

    def __init__(self, dependency: str) -> None:
        self._dependency = dependency
        self._delay = FIRST_DELAY_SECONDS
        self._failed_at = 0.0
        self._reminded_at = float("-inf")

    async def failed(self, reason: str) -> None:
        """Log a failure, unless it was logged recently, and sleep before the next attempt."""
        now = time.monotonic()
        if now - self._failed_at > STABLE_AFTER_SECONDS:
            self._delay, self._reminded_at = FIRST_DELAY_SECONDS, float("-inf")
        if now - self._reminded_at > REMINDER_SECONDS:
            log.warning("dependency unavailable, retrying", dependency=self._dependency, reason=reason)
            self._reminded_at = now
        await asyncio.sleep(self._delay)
        self._failed_at = time.monotonic()
        self._delay = min(2 * self._delay, MAX_DELAY_SECONDS)


async def keep_up(dependency: str, session: Callable[[], Awaitable[None]]) -> None:
    """Rerun `session` with backoff until cancelled: it connects, works, and ends when the connection is lost."""
    backoff = Backoff(dependency)
    while True:
        try:
            await session()
        except Exception as error:
            await backoff.failed(describe(error))
        else:
            await backoff.failed("connection closed")


def describe(error: BaseException) -> str:
    """An error as one short line, without the values of invalid input, which may be credentials."""
    if isinstance(error, ValidationError):
        found = error.errors(include_url=False, include_context=False, include_input=False)
        message = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found)
    else:
        message = str(error)
    text = " ".join(message.split())[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@asynccontextmanager
async def running(*background: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines in the background of the block, and cancel them at its end; if one fails, the block fails."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in background]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
