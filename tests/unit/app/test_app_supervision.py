"""Deadlines, reconnects, background work."""

import asyncio

import pytest

from netmon.supervision import deadline, keep_up, running

pytestmark = pytest.mark.anyio


async def test_a_deadline_returns_the_result() -> None:
    async def work() -> int:
        return 3

    assert await deadline(work(), 1) == 3


async def test_a_deadline_does_not_wait_for_work_that_ignores_cancellation() -> None:
    release, ended = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await release.wait()
            ended.set()

    with pytest.raises(TimeoutError):
        await deadline(stubborn(), 0.01)
    assert not ended.is_set()
    release.set()
    await asyncio.wait_for(ended.wait(), 1)


async def test_a_session_is_restarted_with_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    delays: list[float] = []
    sleep = asyncio.sleep

    async def fast(seconds: float) -> None:
        delays.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", fast)
    outcomes = iter([OSError("unavailable"), None, ValueError("broken"), OSError(), OSError()])

    async def session() -> None:
        try:
            outcome = next(outcomes)
        except StopIteration:
            raise asyncio.CancelledError from None
        if outcome:
            raise outcome

    with pytest.raises(asyncio.CancelledError):
        await keep_up("a service", session)
    assert delays == [0.25, 0.5, 1.0, 2.0, 2.0]


async def test_background_work_is_cancelled_at_the_end_of_the_block() -> None:
    cancelled = asyncio.Event()

    async def background() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with running(background()):
        await asyncio.sleep(0)
    assert cancelled.is_set()


async def test_failing_background_work_ends_the_block() -> None:
    async def background() -> None:
        raise ValueError("broken")

    with pytest.raises(ExceptionGroup) as caught:
        async with running(background()):
            await asyncio.Event().wait()
    assert caught.group_contains(ValueError)
