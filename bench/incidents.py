"""What the alerts of targets cost Prometheus: series and memory with open incidents, and without any."""

from __future__ import annotations

import time
from collections.abc import Iterator

import requests

from bench.figure import Figure
from bench.target_alerts import scalar
from tests.live import pipeline
from tests.live.stack import Stack, until

TARGETS = 1000
"""As many incidents as the worker exports."""
INTERVAL = 15
SETTLING_SECONDS = 60
SAMPLES, APART = 10, 3.0
"""Samples of the memory, and the seconds between them."""
MEMORY = 'process_resident_memory_bytes{job="prometheus"} / 1e6'
SERIES = 'count({__name__=~"netmon_incident_.+", job="worker"})'


def figures(stack: Stack) -> Iterator[Figure]:
    """Series, and megabytes of resident memory, while all targets are up and while all are down."""
    stack.invoke("up", "--no-smoke", timeout=900)
    with pipeline.target_server(stack) as server:
        targets = [
            {"name": f"target {number}", "spec": {"kind": "http", "url": server.url}, "interval_seconds": INTERVAL,
             "failures": 1, "window": 1}
            for number in range(TARGETS)
        ]  # fmt: skip
        url = stack.url("/api/targets?prune=true")
        requests.put(url, json=targets, headers=stack.authorization(), timeout=120).raise_for_status()
        for status, state in ((200, "up"), (500, "down")):
            server.status = status
            until(lambda: states(stack) == {state}, 120, f"all targets to be {state}")  # noqa: B023
            time.sleep(SETTLING_SECONDS)
            memory = []
            for _ in range(SAMPLES):
                memory.append(scalar(stack, MEMORY))
                time.sleep(APART)
            what = f"{TARGETS} targets {state}"
            yield Figure(f"memory-{state}", f"memory of Prometheus, {what}", "MB", memory)
            if state == "down":
                yield Figure("series", f"series of open incidents, {what}", "", [scalar(stack, SERIES)])


def states(stack: Stack) -> set[str]:
    """The states that targets have."""
    return {row["state"] for row in pipeline.sql(stack, "SELECT DISTINCT state FROM standings")}
