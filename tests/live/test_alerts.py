"""Three alerts of three components, from the fault to the application, which receives its own alerts."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any, NamedTuple

import pytest
import requests

from tests.live import faults
from tests.live.alerts import AlertKey, firing, require_complete
from tests.live.stack import Stack, until

SNAPSHOT_SECONDS = 12
"""Longer than Alertmanager's interval between two writes of its state."""
AMTOOL = ("amtool", "--alertmanager.url=http://127.0.0.1:9093", "silence")
EXPECTED = (("RedisDown", "redis"), ("TargetDown", "otel-collector"), ("RabbitMQDeadLetters", "rabbitmq"))


class Silence(NamedTuple):
    """A silence, and when it was created by the monotonic clock."""

    id: str
    created: float


@pytest.fixture(scope="module", autouse=True)
def silence(stack: Stack) -> Silence:
    """A silence that is created before the first of these tests."""
    words = ("add", "service=nothing", "--comment=kill", "--author=test")
    return Silence(stack.exec("alertmanager", *AMTOOL, *words).strip(), time.monotonic())


def test_firing_and_resolved_alerts_reach_the_application(stack: Stack) -> None:
    """The faults are concurrent: the services are independent of each other, and no alert inhibits another."""
    until(lambda: not firing(stack) & set(EXPECTED), 180, "the alerts of earlier tests to be resolved")
    began = time.time()
    with faults.together(
        faults.killed(stack, "redis"),
        faults.killed(stack, "otel-collector"),
        faults.poison_message(stack),
    ):
        fired = [wait_for_alert(stack, key, "firing", began) for key in EXPECTED]
        repaired = time.time()
    for alert in fired:
        require_complete(alert["labels"], alert["annotations"])
    for key in EXPECTED:
        assert wait_for_alert(stack, key, "resolved", repaired)["ends_at"]
    stack.wait_until_recovered()


def test_a_silence_survives_a_kill_of_alertmanager(stack: Stack, silence: Silence) -> None:
    time.sleep(max(silence.created + SNAPSHOT_SECONDS - time.monotonic(), 0))
    with faults.killed(stack, "alertmanager"):
        pass
    stack.wait_until_recovered()
    assert silence.id in stack.exec("alertmanager", *AMTOOL, "query", "--quiet").split()
    stack.exec("alertmanager", *AMTOOL, "expire", silence.id)


def test_an_outage_of_the_application_burns_the_error_budget(stack: Stack) -> None:
    """Although an application that is down counts no failed request; the probe of the blackbox exporter does."""

    def burnt() -> float:
        query = {"query": "slo:api_errors:ratio_rate5m"}
        url = stack.url("/api/v1/query", "PROMETHEUS_PORT")
        found = requests.get(url, params=query, timeout=5).json()["data"]["result"]
        return float(found[0]["value"][1]) if found else 0.0

    before = burnt()
    with faults.killed(stack, "app"):
        until(lambda: burnt() > before, 60, "the outage to count as failed requests")
    stack.wait_until_recovered()


def wait_for_alert(stack: Stack, key: AlertKey, status: str, since: float) -> dict[str, Any]:
    """Wait until the application has received an alert after a Unix time, and return it."""

    def newest() -> dict[str, Any] | None:
        alerts: list[dict[str, Any]] = requests.get(stack.url("/api/alerts"), timeout=5).json()
        found = next((alert for alert in alerts if (alert["alertname"], alert["service"]) == key), None)
        if found is None or datetime.fromisoformat(found["received_at"]).timestamp() < since:
            return None
        return found if found["status"] == status else None

    return until(newest, 90, f"the application to receive that {key} is {status}")
