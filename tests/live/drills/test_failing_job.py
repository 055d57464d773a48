"""A job that fails whenever it is tried: it is put aside in the end, and others do not suffer for it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import requests

from tests.live import faults
from tests.live.stack import Stack, until

ALIVE = "http://app:3000/api/health/live"
TRIES = 20


def test_it_is_put_aside_with_its_reason(stack: Stack, record: Callable[[str], None]) -> None:
    """Its result cannot be stored: PostgreSQL has no place for the character in its address."""
    probe, begun = str(uuid4()), time.monotonic()
    job = {"id": probe, "url": f"{ALIVE}\0", "target": "t", "requested_at": "2026-01-01T00:00:00Z"}
    with faults.poison_message(stack, json.dumps(job)) as management:

        def put_aside() -> list[dict[str, Any]]:
            ask = {"count": 10, "ackmode": "ack_requeue_true", "encoding": "auto"}
            answer = requests.post(f"{management}/queues/%2F/probes.dead/get", json=ask, timeout=10)
            answer.raise_for_status()
            return [each for each in answer.json() if probe in each["payload"]]

        assert stack.result(stack.probe(ALIVE))["status"] == "succeeded"
        [letter] = until(put_aside, 90, "the job to be put aside")
    assert letter["properties"]["headers"]["x-first-death-reason"] == "delivery_limit"
    log = stack.docker("logs", stack.container("worker")["Id"])
    given_back = sum(
        json.loads(line)["message"] == "job failed, given back" for line in log.splitlines() if probe in line
    )
    assert TRIES <= given_back <= TRIES + 1, given_back
    record(f"put aside after {given_back} tries in {time.monotonic() - begun:.0f} s")
