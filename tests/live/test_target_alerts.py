"""Alerts of monitored targets: one for each, by name and within seconds, whatever else fails."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any
from unittest.mock import ANY

import requests

from tests.live import faults, pipeline
from tests.live.stack import Stack, until

DOWN = "MonitoredTargetDown"
WITHIN = 10.0
"""Seconds from the change of a state to its notification."""
QUIET = 12.0
"""Seconds in which a notification would arrive: longer than the group interval of Alertmanager."""


def notified(stack: Stack, target: str) -> dict[str, Any] | None:
    """The latest alert of a target that Alertmanager has sent to the application."""
    listed: list[dict[str, Any]] = requests.get(stack.url("/api/alerts"), timeout=5).json()
    return next((each for each in listed if each["labels"].get("target") == target), None)


def none_firing(stack: Stack) -> bool:
    """Whether the application has received the end of every alert of a target: nothing else is in the group then."""
    listed: list[dict[str, Any]] = requests.get(stack.url("/api/alerts"), timeout=5).json()
    return not any(each["service"] == "targets" and each["status"] == "firing" for each in listed)


def wait_for(stack: Stack, target: str, status: str) -> dict[str, Any]:
    """Wait until the alert of a target is firing or resolved; it must be notified in time."""

    def with_status() -> dict[str, Any] | None:
        alert = notified(stack, target)
        return alert if alert and (alert["alertname"], alert["status"]) == (DOWN, status) else None

    alert = until(with_status, 60, f"the application to receive that {target} is {status}")
    [incident] = pipeline.sql(stack, f"SELECT started_at, ended_at FROM incidents WHERE target = '{target}'")  # noqa: S608
    changed = datetime.fromisoformat(incident["started_at" if status == "firing" else "ended_at"])
    delay = (datetime.fromisoformat(alert["received_at"]) - changed).total_seconds()
    # The end of an incident waits for the interval of the group of alerts.
    assert delay < WITHIN + (WITHIN if status == "resolved" else 0), f"{status} after {delay:.1f} s"
    return alert


def test_each_target_is_notified_by_name_whatever_else_fails(stack: Stack) -> None:
    """A goes down, the worker restarts, Redis and Kafka stop, B goes down; both recover, a worker of two is killed."""
    until(lambda: none_firing(stack), 30, "the alerts of earlier targets to resolve")
    with pipeline.target_server(stack) as first, pipeline.target_server(stack) as second:
        a, b = pipeline.add_target(stack, first.url, name="Shop"), pipeline.add_target(stack, second.url, name="Mail")
        try:
            until(lambda: {pipeline.state(stack, each) for each in (a, b)} == {"up"}, 20, "both targets to be up")
            first.status = 500
            shop = wait_for(stack, a, "firing")
            require_complete(shop, "Shop", first.url)
            stack.control("restart", "worker")
            time.sleep(QUIET)
            # Its group may have been sent again: Prometheus repeats alerts that resolved in the last 15 minutes.
            assert notified(stack, a) == shop | {"received_at": ANY}, "a restart of the worker must not notify"

            with faults.stopped(stack, "redis", "kafka"):
                second.status = 500
                require_complete(wait_for(stack, b, "firing"), "Mail", second.url)
                assert notified(stack, a)["status"] == "firing"  # type: ignore[index]
                second.status = 200
                wait_for(stack, b, "resolved")
            stack.compose("up", "--detach", "--no-recreate", "--no-deps", "--scale", "worker=2", "worker")
            stack.wait_until_recovered()
            stack.docker("kill", stack.containers("worker")[0])
            first.status = 200
            assert wait_for(stack, a, "resolved")["starts_at"] == shop["starts_at"]
        finally:
            pipeline.delete_targets(stack, a, b)
            stack.compose("up", "--detach", "--no-recreate", "--no-deps", "--scale", "worker=1", "worker")
            stack.wait_until_recovered()


def test_targets_without_a_worker_are_stale_everywhere(stack: Stack) -> None:
    """The interval is 5 s and the timeout 2 s, so that a result is overdue 22 s after the last one."""
    with pipeline.target_server(stack) as server:
        target = pipeline.add_target(stack, server.url, name="Shop")
        try:
            until(lambda: pipeline.state(stack, target) == "up", 20, "the target to be up")
            assert not api(stack, target)["stale"]
            with faults.stopped(stack, "worker"):
                until(lambda: api(stack, target)["stale"], 40, "the API to show that the target is stale")
                assert api(stack, target)["standing"]["state"] == "up", "the last known state"
                listed = requests.get(stack.url("/api/targets?state=stale&tag=live-test"), timeout=5).json()
                assert [(each["id"], each["stale"]) for each in listed] == [(target, True)]
                assert requests.get(stack.url("/api/targets?state=up&tag=live-test"), timeout=5).json() == []
                until(lambda: "The target is stale" in index(stack), 5, "the page to show it")
                # Reported from the second minute of the application on.
                until(lambda: stack.health()[1]["checks"]["probing"] == "error", 40, "the health check to fail")
                alert = until(lambda: stale_alert(stack, "firing"), 40, "the notification")
                assert (alert["severity"], alert["service"]) == ("critical", "worker")
                metrics = requests.get(stack.url("/api/metrics"), timeout=5).text
                assert 'netmon_targets{state="stale"} 1.0' in metrics
            until(lambda: not api(stack, target)["stale"], 30, "the target to be current again")
            until(lambda: "The target is up" in index(stack), 10, "the page to be current again")
            until(lambda: stale_alert(stack, "resolved"), 40, "the alert to resolve")
        finally:
            pipeline.delete_targets(stack, target)
            stack.wait_until_recovered()


def api(stack: Stack, target: str) -> dict[str, Any]:
    """The target in the API."""
    found: dict[str, Any] = requests.get(stack.url(f"/api/targets/{target}"), timeout=5).json()
    return found


def index(stack: Stack) -> str:
    """The sections of the status page about targets."""
    return requests.get(stack.url("/"), timeout=5).text.partition('id="alerts"')[0]


def stale_alert(stack: Stack, status: str) -> dict[str, Any] | None:
    """The latest notification about stale targets, if it has this status."""
    listed: list[dict[str, Any]] = requests.get(stack.url("/api/alerts"), timeout=5).json()
    found = next((each for each in listed if each["alertname"] == "MonitoredTargetsStale"), None)
    return found if found and found["status"] == status else None


def require_complete(alert: dict[str, Any], name: str, address: str) -> None:
    """The notification must name the target, its address, the cause, and lead to its page."""
    labels, annotations = alert["labels"], alert["annotations"]
    assert (labels["name"], labels["kind"], labels["tags"]) == (name, "http", ",live-test,")
    assert (labels["severity"], annotations["summary"]) == ("critical", f"{name} is down")
    for part in (address, "status 500", "Since ", "last success "):
        assert part in annotations["description"], annotations["description"]
    assert annotations["target_url"].endswith(f"/targets/{labels['target']}")
