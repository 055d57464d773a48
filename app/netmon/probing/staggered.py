"""Attempts that start one after another and then run in parallel: the first that succeeds wins (RFC 8305)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


class AllFailedError(Exception):
    """Every attempt failed; `failures` has the exceptions in the order in which they were raised, at least one."""

    def __init__(self, failures: list[Exception]) -> None:
        super().__init__(*failures)
        self.failures = failures


async def first(
    attempts: Iterable[Callable[[], Awaitable[T]]], delay_seconds: float, expected: tuple[type[Exception], ...]
) -> T:
    """The result of the first attempt that succeeds; the others are cancelled.

    Args:
        attempts: at least one.
        delay_seconds: the next attempt starts when one fails, or after this time.
        expected: exceptions by which an attempt fails; any other ends all attempts and is raised.

    Raises:
        AllFailedError: every attempt failed.
    """
    waiting = list(attempts)
    running: set[asyncio.Future[T]] = set()
    failures: list[Exception] = []
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.ensure_future(waiting.pop(0)()))
            done, running = await asyncio.wait(
                running, timeout=delay_seconds if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for failure in [attempt.exception() for attempt in done]:
                if isinstance(failure, expected):
                    failures.append(failure)
                elif failure is not None:
                    raise failure
            for attempt in done:
                if attempt.exception() is None:
                    return attempt.result()
        raise AllFailedError(failures)
    finally:
        for attempt in running:
            attempt.cancel()
        await asyncio.gather(*running, return_exceptions=True)
