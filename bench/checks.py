"""CPU cost of the health checks while every service is healthy."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.measure import measured
from tests.live.stack import Stack

ROUNDS = 10
SECOND = 1_000_000_000


def rows(stack: Stack) -> Iterator[tuple[str, str]]:
    """Label and value of each line: CPU time of one check, and of all checks per second."""
    stack.invoke("up", "--no-smoke", timeout=900)
    time.sleep(20)
    with measured() as idle:
        time.sleep(20)
    total = 0.0
    for service in sorted(stack.services()):
        container = stack.container(service)
        health = container["Config"].get("Healthcheck")
        if health is None:
            yield f"  {service}", "checked from outside, no health check of its own"
            continue
        with measured() as span:
            for _ in range(ROUNDS):
                stack.docker("exec", container["Id"], *health["Test"][1:])
        cost = (span.cpu - span.wall * idle.cpu / idle.wall) / ROUNDS
        total += cost / (health["Interval"] / SECOND)
        yield f"  check of {service}", f"{cost * 1000:.0f} ms of CPU, every {health['Interval'] / SECOND:g} s"
    yield "all health checks together", f"{total * 100:.1f} % of one core"
    yield "the idle stack, checks included", f"{idle.cpu / idle.wall * 100:.1f} % of one core"
