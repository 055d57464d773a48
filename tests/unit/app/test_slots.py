"""Slots of concurrent probes."""

from __future__ import annotations

import asyncio

import pytest

from netmon import slots
from netmon.slots import Slots


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "BUSY_SECONDS", 0.02)


async def begun(limits: Slots, jobs: int, seconds: float, within: float) -> int:
    """How many of several jobs, each of which takes some seconds, have begun within a time; all are cancelled then."""
    count = 0

    async def job() -> None:
        nonlocal count
        async with limits.slot():
            count += 1
            await asyncio.sleep(seconds)

    running = [asyncio.create_task(job()) for _ in range(jobs)]
    await asyncio.sleep(within)
    for each in running:
        each.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    return count


def test_few_probes_begin_at_the_same_time() -> None:
    assert asyncio.run(begun(Slots(3), jobs=50, seconds=60, within=0.01)) == 3


def test_probes_that_wait_leave_their_slots() -> None:
    assert asyncio.run(begun(Slots(3), jobs=30, seconds=60, within=1)) == 30


def test_the_number_of_probes_that_wait_is_limited() -> None:
    limits = Slots(2)
    assert asyncio.run(begun(limits, jobs=100, seconds=60, within=2)) == limits.limit == 42


def test_slots_are_free_again_whatever_the_end() -> None:
    """Of probes that end at once, end late, fail, or are cancelled while they wait for a slot or for the target."""

    async def run() -> int:
        limits = Slots(1)
        await begun(limits, jobs=5, seconds=0, within=0.1)
        await begun(limits, jobs=5, seconds=0.05, within=1)
        await begun(limits, jobs=40, seconds=60, within=0.01)
        await begun(limits, jobs=40, seconds=60, within=1.5)
        with pytest.raises(ValueError, match="failed"):
            async with limits.slot():
                raise ValueError("failed")
        await asyncio.sleep(0.05)
        return await begun(limits, jobs=limits.limit, seconds=60, within=0.01)

    assert asyncio.run(run()) == 1


def test_an_urgent_probe_gets_the_next_free_slot() -> None:
    async def run() -> list[str]:
        limits, order = Slots(1), []

        async def job(name: str, *, urgent: bool = False) -> None:
            async with limits.slot(urgent=urgent):
                order.append(name)
                await all_wait.wait()

        all_wait = asyncio.Event()
        scheduled = [asyncio.create_task(job(str(number))) for number in range(3)]
        await asyncio.sleep(0)
        urgent = [asyncio.create_task(job(name, urgent=True)) for name in ("a", "b")]
        await asyncio.sleep(0)
        all_wait.set()
        await asyncio.gather(*scheduled, *urgent)
        return order

    assert asyncio.run(run()) == ["0", "a", "b", "1", "2"]


def test_a_slot_that_is_given_to_a_cancelled_probe_is_not_lost() -> None:
    async def run() -> None:
        limits = Slots(1)

        async def job() -> None:
            async with limits.slot():
                await asyncio.sleep(0)

        async with limits.slot():
            waiting = asyncio.create_task(job())
            await asyncio.sleep(0)
        waiting.cancel()  # in the moment in which it gets the slot
        await asyncio.gather(waiting, return_exceptions=True)
        async with asyncio.timeout(5), limits.slot():
            pass

    asyncio.run(run())
