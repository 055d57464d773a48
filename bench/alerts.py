"""From a fault to the receiver, for a database, a cache and a broker that are killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

from tests.live.alerts import Catcher, quiet
from tests.live.faults import killed
from tests.live.stack import Stack

ROUNDS = 5
WITHIN = 60.0
ALERTS = (("PostgresDown", "db"), ("RedisDown", "redis"), ("KafkaDown", "kafka"))
SETTINGS = {"ALERT_RECEIVERS": Catcher.CHANNELS}


def rows(stack: Stack) -> Iterator[tuple[str, str]]:
    """Name and figure of each line: seconds from the killed process until the receiver is told, and back."""
    stack.invoke("up", "--without=monitoring", "--no-smoke", timeout=900)
    fired: dict[str, list[float]] = {name: [] for name, _ in ALERTS}
    over: dict[str, list[float]] = {name: [] for name, _ in ALERTS}
    with Catcher.running(stack) as catcher:
        stack.invoke("up", "--with=monitoring", "--no-smoke", timeout=900)
        for about in ALERTS * ROUNDS:
            name, service = about
            quiet(stack)
            began = time.time()
            with killed(stack, service):
                fired[name].append(catcher.wait(about, "firing", began, WITHIN).at - began)
                mended = time.time()
            over[name].append(catcher.wait(about, "resolved", mended, WITHIN).at - mended)
    for name, service in ALERTS:
        yield f"{service} killed → {name} at the receiver, of {ROUNDS}", shown(fired[name])
        yield f"{service} started → the receiver knows that {name} is over", shown(over[name])


def shown(seconds: list[float]) -> str:
    """Median and maximum."""
    return f"median {median(seconds):.1f} s, max {max(seconds):.1f} s"
