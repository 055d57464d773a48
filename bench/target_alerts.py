"""From the change of a target's state to its notification, with few and with many targets, and what the alerts cost."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import datetime

import requests

from bench.figure import Figure
from tests.live import pipeline
from tests.live.alerts import AlertReceiver
from tests.live.stack import Stack, until

SETTINGS = {"ALERT_RECEIVERS": AlertReceiver.CHANNELS}
COUNTS = (10, 2000)
ROUNDS = 20
WITHIN = 60.0
GROUP_INTERVAL = 5.0
"""Seconds between two notifications of a group, over which the changes are spread."""


def figures(stack: Stack) -> Iterator[Figure]:
    """Seconds from the stored change of the state to the arrival at the receiver."""
    stack.invoke("up", "--without=monitoring", "--no-smoke", timeout=900)
    with (
        AlertReceiver.running(stack) as receiver,
        pipeline.target_server(stack) as others,
        pipeline.target_server(stack) as server,
    ):
        stack.invoke("up", "--with=monitoring", "--no-smoke", timeout=900)
        for count in COUNTS:
            store(stack, count, others.url, server.url)
            [target] = pipeline.sql(stack, "SELECT id FROM targets WHERE name = 'changing'")
            until(lambda: pipeline.state(stack, target["id"]) == "up", 60, "the target to be up")  # noqa: B023
            delays: dict[str, list[float]] = {"firing": [], "resolved": []}
            for _ in range(ROUNDS):
                for status, expected in ((500, "firing"), (200, "resolved")):
                    time.sleep(random.uniform(0, GROUP_INTERVAL))  # noqa: S311 - no secret
                    delays[expected].append(delay(stack, receiver, server, target["id"], status, expected))
            for expected, what in (("firing", "down"), ("resolved", "up")):
                label = f"the state of a target is {what} → its notification, with {count} targets"
                yield Figure(f"{what}-{count}", label, "s", delays[expected])
        series = scalar(stack, 'count({job="worker"})') - scalar(
            stack, 'count({job="worker", __name__!~"netmon_inc.*"})'
        )
        yield Figure("series", f"series of alerts of targets, {COUNTS[-1]} targets, all of them up", "", [series])


def store(stack: Stack, count: int, url: str, changing: str) -> None:
    """Store this number of targets; one of them is probed every 5 s at a server of its own."""
    targets = [
        {"name": f"target {number}", "spec": {"kind": "http", "url": url}, "interval_seconds": 60}
        for number in range(count - 1)
    ]
    changed = {"name": "changing", "spec": {"kind": "http", "url": changing}, "interval_seconds": 5}
    done = requests.put(
        stack.url("/api/targets?prune=true"),
        json=[*targets, changed | {"failures": 1, "window": 1}],
        headers=stack.authorization(),
        timeout=120,
    )
    done.raise_for_status()


def delay(
    stack: Stack, receiver: AlertReceiver, server: pipeline.TargetServer, target: str, status: int, expected: str
) -> float:
    """Seconds from the change of the state, which the server's status causes, to the notification."""
    began = time.time()
    server.status = status

    def arrived() -> float | None:
        found = (each for each in receiver.received(began) if each.labels.get("target") == target)
        return next((each.at for each in found if each.status == expected), None)

    at = until(arrived, WITHIN, f"the notification that the target is {expected}")
    query = f"SELECT max(coalesce(ended_at, started_at)) AS at FROM incidents WHERE target = '{target}'"  # noqa: S608
    [row] = pipeline.sql(stack, query)
    return at - datetime.fromisoformat(row["at"]).timestamp()


def scalar(stack: Stack, query: str) -> float:
    """The value of a query."""
    url = stack.url("/api/v1/query", "PROMETHEUS_PORT")
    answer = requests.get(url, params={"query": query}, timeout=10).json()
    return float(answer["data"]["result"][0]["value"][1])
