"""Alert latency: from the kill of a database, a cache or a broker to the notification at the receiver."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.figure import Figure
from tests.live.alerts import AlertReceiver, wait_until_quiet
from tests.live.faults import killed
from tests.live.stack import Stack

ROUNDS = 5
WITHIN = 60.0
ALERTS = (("PostgresDown", "db"), ("RedisDown", "redis"), ("KafkaDown", "kafka"))
SETTINGS = {"ALERT_RECEIVERS": AlertReceiver.CHANNELS}


def figures(stack: Stack) -> Iterator[Figure]:
    """Seconds from kill to firing alert, and from restart to resolved alert."""
    stack.invoke("up", "--without=monitoring", "--no-smoke", timeout=900)
    fired: dict[str, list[float]] = {name: [] for name, _ in ALERTS}
    resolved: dict[str, list[float]] = {name: [] for name, _ in ALERTS}
    with AlertReceiver.running(stack) as receiver:
        stack.invoke("up", "--with=monitoring", "--no-smoke", timeout=900)
        for alert in ALERTS * ROUNDS:
            name, service = alert
            wait_until_quiet(stack)
            began = time.time()
            with killed(stack, service):
                fired[name].append(receiver.wait(alert, "firing", began, WITHIN).at - began)
                restarted = time.time()
            resolved[name].append(receiver.wait(alert, "resolved", restarted, WITHIN).at - restarted)
    for name, service in ALERTS:
        yield Figure(f"{service}-fired", f"{service} killed → {name} at the receiver", "s", fired[name])
        label = f"{service} restarted → {name} resolved at the receiver"
        yield Figure(f"{service}-resolved", label, "s", resolved[name])
