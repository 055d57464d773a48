"""Attempts one after another: the first that succeeds wins."""

import asyncio
import time

import pytest

from netmon.probing.staggered import AllFailedError, first

pytestmark = pytest.mark.anyio

EXPECTED = (OSError,)


class Attempts:
    """Attempts that note their starts and ends."""

    def __init__(self) -> None:
        self.events: list[str] = []

    async def hang(self) -> str:
        self.events.append("hang")
        try:
            await asyncio.sleep(60)
        finally:
            self.events.append("cancelled")
        return "never"

    async def fail(self) -> str:
        self.events.append("fail")
        raise OSError("failed")

    async def succeed(self) -> str:
        self.events.append("succeed")
        return "done"


async def test_the_next_attempt_starts_after_the_delay_and_the_others_are_cancelled() -> None:
    tried, started = Attempts(), time.perf_counter()
    assert await first([tried.hang, tried.succeed, tried.hang], 0.05, EXPECTED) == "done"
    assert 0.04 < time.perf_counter() - started < 5
    assert tried.events == ["hang", "succeed", "cancelled"]


async def test_the_next_attempt_starts_at_once_after_a_failure() -> None:
    tried = Attempts()
    assert await asyncio.wait_for(first([tried.fail, tried.fail, tried.succeed], 60, EXPECTED), 5) == "done"


async def test_the_failures_of_all_attempts_are_raised() -> None:
    tried = Attempts()
    with pytest.raises(AllFailedError) as raised:
        await first([tried.fail, tried.fail], 60, EXPECTED)
    assert [str(failure) for failure in raised.value.failures] == ["failed", "failed"]


async def test_an_unexpected_exception_ends_all_attempts() -> None:
    async def broken() -> str:
        raise ZeroDivisionError

    tried = Attempts()
    with pytest.raises(ZeroDivisionError):
        await first([tried.hang, broken, tried.succeed], 0.01, EXPECTED)
    assert tried.events == ["hang", "cancelled"]


async def test_attempts_end_with_the_one_who_waits() -> None:
    tried = Attempts()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(first([tried.hang, tried.hang], 0.01, EXPECTED), 0.1)
    assert tried.events == ["hang", "hang", "cancelled", "cancelled"]
