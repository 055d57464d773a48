"""Heartbeats while workers are killed, and while no API is there to receive them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import requests

from tests.live import faults, pipeline
from tests.live.stack import Stack, until
from tests.live.test_delivery import scale
from tests.live.test_heartbeats import GRACE, INTERVAL, MISSING, job

Record = Callable[[str], None]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack without monitoring."""
    stack = Stack.create(tmp_path_factory.mktemp("heartbeats") / "checkout", "netmon-heartbeats")
    try:
        stack.invoke("up", "--profile=dev", "--without=monitoring", "--no-smoke", timeout=900)
        yield stack
    finally:
        stack.destroy()


def test_a_silent_period_is_one_result_with_any_number_of_workers(stack: Stack, record: Record) -> None:
    with job(stack) as backup:
        backup.report()
        started = time.time()
        try:
            scale(stack, 3)
            for _ in range(3):
                [worker, *_others] = stack.containers("worker")
                stack.docker("restart", "--timeout", "0", worker)
                time.sleep(INTERVAL)
        finally:
            scale(stack, 1)
        until(lambda: len(backup.silences()) >= 3 or None, 3 * MISSING, "three silent periods")
        periods = (time.time() - started - GRACE) / INTERVAL
        record(f"{len(backup.silences())} silent periods of {periods:.1f}, three workers, three kills")
        assert len(backup.silences()) <= periods, "more results than periods"


def test_an_outage_of_the_api_is_no_silence(stack: Stack, record: Record) -> None:
    """The job cannot report while no API is there; it reports at once when one is back."""
    with job(stack, interval_seconds=20) as backup:
        backup.report()
        with faults.stopped(stack, "app"):
            time.sleep(30)
        until(lambda: is_ready(stack), 60, "the API")
        time.sleep(10)  # half of the period that starts with the API
        assert backup.silences() == []
        backup.report()
        assert [each["error"] for each in pipeline.finished(stack, backup.target)] == [None, None]
        until(lambda: backup.silences() or None, 20 + MISSING, "silence after the outage")
        record("30 s without an API: no silent period; the next one was reported")


def is_ready(stack: Stack) -> bool:
    """Whether the API answers that it is ready."""
    try:
        return requests.get(stack.url("/api/health/ready"), timeout=2).ok
    except requests.RequestException:
        return False
