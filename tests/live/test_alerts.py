"""Three alerts of three components, from a real fault to the application, which is a receiver of its own alerts."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import requests

from tests.live import faults
from tests.live.alerts import firing, require_complete
from tests.live.stack import Stack, until

EXPECTED = (("RedisDown", "redis"), ("TargetDown", "otel-collector"), ("RabbitMQDeadLetters", "rabbitmq"))


def test_alerts_reach_the_application_and_their_end_does_too(stack: Stack) -> None:
    """At once, because none of these services needs another one of them and no alert mutes another one."""
    until(lambda: not firing(stack) & set(EXPECTED), 180, "the faults of earlier tests to be over")
    began = time.time()
    with faults.together(
        faults.killed(stack, "redis"),
        faults.killed(stack, "otel-collector"),
        faults.poison_message(stack),
    ):
        fired = [told(stack, about, "firing", began) for about in EXPECTED]
        mended = time.time()
    for alert in fired:
        require_complete(alert["labels"], alert["annotations"])
    for about in EXPECTED:
        assert told(stack, about, "resolved", mended)["ends_at"]
    stack.invoke("wait")


def told(stack: Stack, about: tuple[str, str], status: str, since: float) -> dict[str, Any]:
    """What the application has received about an alert (name, service) after a Unix time, waited for."""

    def newest() -> dict[str, Any] | None:
        known: list[dict[str, Any]] = requests.get(stack.url("/api/alerts"), timeout=5).json()
        found = next((alert for alert in known if (alert["alertname"], alert["service"]) == about), None)
        if found is None or datetime.fromisoformat(found["received_at"]).timestamp() < since:
            return None
        return found if found["status"] == status else None

    return until(newest, 90, f"the application to be told that {about} is {status}")
