"""Attempts: retries, timeouts, slow successes."""

import asyncio
import time

import pytest

from netmon.models import Plan
from tests.unit.app.probing.probes import carry_out
from tests.unit.app.probing.servers import OK, server

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("retries", "status", "attempts"), [(0, "failed", 1), (1, "failed", 2), (4, "succeeded", 3)])
async def test_a_failed_attempt_is_retried(retries: int, status: str, attempts: int) -> None:
    requests = 0

    async def third_time(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        requests += 1
        writer.write(OK if requests == 3 else OK.replace(b"200", b"500"))

    async with server(third_time) as url:
        plan = Plan.model_validate({"spec": {"kind": "http", "url": url}, "retries": retries})
        outcome = await carry_out(plan)
    assert (outcome.status, outcome.attempts, requests) == (status, attempts, attempts)


async def test_every_attempt_has_the_whole_timeout() -> None:
    async def hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the client disconnects

    started = time.perf_counter()
    async with server(hang) as url:
        plan = Plan.model_validate({"spec": {"kind": "http", "url": url}, "retries": 2, "timeout_seconds": 0.2})
        outcome = await carry_out(plan)
    elapsed_ms = (time.perf_counter() - started) * 1000
    whole_ms = 198  # timers count in whole milliseconds
    assert (outcome.error, outcome.attempts) == ("timeout", 3)
    assert whole_ms <= outcome.duration_ms <= elapsed_ms - 2 * whole_ms, "the duration of the last attempt only"


async def test_a_slow_success_is_a_warning() -> None:
    async def slow(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        writer.write(OK)

    async with server(slow) as url:
        plan = Plan.model_validate({"spec": {"kind": "http", "url": url}, "slow_ms": 50})
        outcome = await carry_out(plan)
    assert (outcome.status, outcome.warning) == ("succeeded", "slow")
    assert "more than 50 ms" in (outcome.detail or "")
