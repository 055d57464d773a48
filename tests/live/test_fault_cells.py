"""Some cells of the fault table on the shared stack: what every commit has to hold. The drill has all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.live import pipeline
from tests.live.cells import Bench
from tests.live.ledger import PROBED, TARGETS, Entrance
from tests.live.stack import Stack

KILLED = ("worker", "db", "redis", "kafka", "rabbitmq")
RATE = 40
"""Requests a second: below the limit of the application, which this stack keeps."""


@pytest.fixture(scope="module")
def bench(stack: Stack) -> Iterator[Bench]:
    """The shared stack with clients."""
    targets = pipeline.add_targets(stack, PROBED, TARGETS, enabled=False)
    bench = Bench(stack, Entrance.of(stack), targets, rate=RATE, margin=1)
    bench.require_health()
    yield bench
    pipeline.delete_targets(stack, *targets)


@pytest.mark.skipif(os.geteuid() != 0, reason="kills a process in a container")
@pytest.mark.parametrize("service", KILLED)
def test_a_killed_service_loses_no_acknowledged_probe(bench: Bench, service: str) -> None:
    want, outcome = bench.run(service, "kill")
    assert outcome.problems(want) == []
