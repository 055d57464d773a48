"""CPU cost of the health checks while every service is healthy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from statistics import median

from bench.figure import Figure
from bench.measure import measured
from tests.live.stack import Stack

ROUNDS = 5
REPEATS = 3
"""Runs of a check in a round: one is too short for the machine's CPU clock, which ticks every 10 ms."""
SETTLE = 20
WINDOW = 5
"""Seconds of an idle round."""
SECOND = 1_000_000_000


def figures(stack: Stack) -> Iterator[Figure]:
    """CPU time of the idle stack, of one check of each service, and of all checks."""
    stack.invoke("up", "--no-smoke", timeout=900)
    time.sleep(SETTLE)
    idle = [idle_load() for _ in range(ROUNDS)]
    costs: dict[str, list[float]] = {}
    totals = [0.0] * ROUNDS
    # The services without a check of their own are checked from outside.
    for service in sorted(stack.with_healthcheck()):
        container = stack.container(service)
        health = container["Config"]["Healthcheck"]
        command = ("exec", container["Id"], *health["Test"][1:])
        costs[service] = [cost(stack, command, median(idle)) for _ in range(ROUNDS)]
        share = SECOND / health["Interval"]
        totals = [total + seconds * share for total, seconds in zip(totals, costs[service], strict=True)]
    yield Figure("idle", "the idle stack, checks included", "% of a core", [share * 100 for share in idle])
    yield Figure("all", "all health checks together", "% of a core", [share * 100 for share in totals])
    for service, seconds in costs.items():
        samples = [each * 1000 for each in seconds]
        yield Figure(service, f"a check of {service}, CPU time", "ms", samples, detail=True)


def idle_load() -> float:
    """CPU seconds a second of the whole machine."""
    with measured() as span:
        time.sleep(WINDOW)
    return span.cpu / span.wall


def cost(stack: Stack, command: Sequence[str], idle: float) -> float:
    """CPU seconds of a check, beyond those of the idle machine in the same time."""
    with measured() as span:
        for _ in range(REPEATS):
            stack.docker(*command)
    return (span.cpu - span.wall * idle) / REPEATS
