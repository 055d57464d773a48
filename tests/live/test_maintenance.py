"""Maintenance windows on a running stack: state, alerts, the page, and the periods of targets in PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.live import pipeline
from tests.live.stack import Stack, until
from tests.live.test_target_alerts import QUIET, WITHIN, api, index, none_firing, notified

MINUTES = 30


@pytest.fixture
def windows(stack: Stack) -> Iterator[list[str]]:
    """The ids of windows, which are deleted afterwards."""
    added: list[str] = []
    yield added
    for window in added:
        change(stack, "DELETE", f"/{window}", expected=(204, 404))


def change(
    stack: Stack, method: str, path: str = "", body: object = None, expected: tuple[int, ...] = (200, 201, 204)
) -> Any:
    """Change a maintenance window."""
    response = requests.request(
        method, stack.url(f"/api/maintenance{path}"), json=body, headers=stack.authorization(), timeout=20
    )
    assert response.status_code in expected, response.text
    return response.json() if response.content else None


def once(start: float, end: float) -> dict[str, str]:
    """A period from and until some minutes from now."""
    now = datetime.now(UTC)
    return {
        "starts_at": (now + timedelta(minutes=start)).isoformat(),
        "ends_at": (now + timedelta(minutes=end)).isoformat(),
    }


def in_maintenance(stack: Stack) -> float:
    """The number of targets in maintenance, by the metric of the application."""
    lines = requests.get(stack.url("/api/metrics"), timeout=5).text.splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith('netmon_targets{state="maintenance"}'))


def test_a_target_has_no_alert_in_a_window_and_one_when_the_window_is_deleted(stack: Stack, windows: list[str]) -> None:
    """It goes down in the window of its tag, the window is deleted, and another one starts while the alert fires."""
    until(lambda: none_firing(stack), 30, "the alerts of earlier targets to resolve")
    with pipeline.target_server(stack) as server:
        target = pipeline.add_target(stack, server.url, name="Shop")
        try:
            until(lambda: pipeline.state(stack, target) == "up", 20, "the target to be up")
            before = in_maintenance(stack)
            window = change(stack, "POST", body={"name": str(uuid4()), "tag": "live-test", "once": once(-1, MINUTES)})
            windows.append(window["id"])
            shown = api(stack, target)
            assert (window["active"], shown["in_maintenance"]) == (True, True), "at once"
            assert shown["maintenance_until"] == window["next"]["ends_at"]

            server.status = 500
            until(lambda: api(stack, target)["standing"]["state"] == "down", 20, "the target to be down")
            listed = requests.get(stack.url("/api/targets?state=maintenance&tag=live-test"), timeout=5).json()
            assert [each["id"] for each in listed] == [target]
            assert requests.get(stack.url("/api/targets?state=down&tag=live-test"), timeout=5).json() == []
            until(lambda: in_maintenance(stack) == before + 1, 10, "the metric to count it")
            page = requests.get(stack.url(f"/targets/{target}"), timeout=5).text
            assert "is in maintenance" in page
            until(lambda: "in maintenance" in index(stack), 5, "the list to show it")
            time.sleep(QUIET)
            assert notified(stack, target) is None, "no alert in the window"

            change(stack, "DELETE", f"/{window['id']}")
            deleted = time.time()
            until(lambda: firing(stack, target), 30, "the alert, once the window is deleted")
            assert received(stack, target) - deleted < WITHIN
            [day, *_] = requests.get(stack.url(f"/api/targets/{target}/uptime"), timeout=5).json()["spans"]
            assert day["maintenance_seconds"] > QUIET
            assert 0 < day["down_seconds"] < time.time() - deleted + 1, "down since the window was deleted"
            periods = pipeline.sql(
                stack,
                "SELECT state, ended_at, lead(started_at) OVER (ORDER BY started_at) AS next "  # noqa: S608
                f"FROM periods WHERE target = '{target}' ORDER BY started_at",
            )
            assert [each["state"] for each in periods][:2] == ["up", "maintenance"], "the past stays as it was"
            assert all(each["next"] in (each["ended_at"], None) for each in periods), "neither gaps nor overlaps"

            starting: dict[str, Any] = {"name": str(uuid4()), "target": target, "once": once(0.2, MINUTES)}
            windows.append(change(stack, "POST", body=starting)["id"])
            until(lambda: not firing(stack, target), 40, "the alert to resolve when a window starts")
            ended = received(stack, target) - datetime.fromisoformat(starting["once"]["starts_at"]).timestamp()
            assert -WITHIN < ended < 2 * WITHIN, f"resolved {ended:.1f} s after the start"
            assert pipeline.state(stack, target) == "down"
        finally:
            pipeline.delete_targets(stack, target)


def firing(stack: Stack, target: str) -> bool:
    """Whether the alert of a target is firing, by its latest notification."""
    alert = notified(stack, target)
    return bool(alert) and alert["status"] == "firing"  # type: ignore[index]


def received(stack: Stack, target: str) -> float:
    """When the latest notification of a target was received."""
    alert = notified(stack, target)
    assert alert
    return datetime.fromisoformat(alert["received_at"]).timestamp()


def test_the_period_of_a_target_is_that_of_all_its_windows(stack: Stack, windows: list[str]) -> None:
    """Overlapping windows are merged; a change of a window, of tags or of targets is complete with its response."""
    mark = f"mark-{uuid4().hex[:8]}"

    def add(**scope: str) -> str:
        spec = {"kind": "http", "url": "http://app:3000/api/health/live"}
        body = {"name": str(uuid4()), "spec": spec, "enabled": False} | scope
        response = requests.post(stack.url("/api/targets"), json=body, headers=stack.authorization(), timeout=15)
        assert response.status_code == 201, response.text
        identity: str = response.json()["id"]
        return identity

    def period(target: str) -> tuple[int | None, int | None]:
        """Start and end of its period in minutes from now."""
        shown = api(stack, target)
        now = datetime.now(UTC)
        both = (shown["maintenance_from"], shown["maintenance_until"])
        start, end = ((datetime.fromisoformat(time) - now) / timedelta(minutes=1) if time else None for time in both)
        return start if start is None else round(start), end if end is None else round(end)

    def window(scope: dict[str, str], start: float, end: float) -> str:
        added = change(stack, "POST", body={"name": str(uuid4()), **scope, "once": once(start, end)})
        windows.append(added["id"])
        identity: str = added["id"]
        return identity

    tagged, other = add(tags=[mark]), add()  # type: ignore[arg-type]
    try:
        assert period(tagged) == (None, None)
        first = window({"tag": mark}, 60, 90)
        assert (period(tagged), period(other)) == ((60, 90), (None, None))
        later = add(tags=["x", mark])  # type: ignore[arg-type]
        assert period(later) == (60, 90), "a target that is added gets the windows of its tags"
        pipeline.delete_targets(stack, later)
        second = window({"target": tagged}, 80, 120)
        assert period(tagged) == (60, 120), "merged"
        window({"target": tagged}, 20, 30)
        assert period(tagged) == (20, 30), "the next one"
        change(stack, "PUT", f"/{second}", {"name": str(uuid4()), "target": other, "once": once(70, 80)})
        assert period(other) == (70, 80)
        path = stack.url(f"/api/targets/{other}")
        answer = requests.patch(path, json={"tags": [mark]}, headers=stack.authorization(), timeout=15)
        assert answer.json()["maintenance_until"] == api(stack, other)["maintenance_until"]
        assert period(other) == (60, 90)
        change(stack, "DELETE", f"/{first}")
        assert (period(tagged), period(other)) == ((20, 30), (70, 80))
        of_target = requests.get(stack.url(f"/api/maintenance?target={tagged}"), timeout=5).json()
        assert [each["target"] for each in of_target] == [tagged]
    finally:
        pipeline.delete_targets(stack, tagged, other)
    assert requests.get(stack.url(f"/api/maintenance/{second}"), timeout=5).status_code == 404, (
        "deleted with its target"
    )


def test_a_period_that_has_passed_is_replaced_by_the_next_one(stack: Stack, windows: list[str]) -> None:
    """The worker notices it within seconds; nobody has to make a request."""
    with pipeline.target_server(stack) as server:
        target = pipeline.add_target(stack, server.url, enabled=False)
        try:
            passing: dict[str, Any] = {"name": str(uuid4()), "target": target, "once": once(-5, 0.1)}
            following: dict[str, Any] = {"name": str(uuid4()), "target": target, "once": once(2, 4)}
            windows += [change(stack, "POST", body=body)["id"] for body in (passing, following)]
            assert api(stack, target)["maintenance_until"][:19] == passing["once"]["ends_at"][:19]
            until(
                lambda: api(stack, target)["maintenance_until"][:19] == following["once"]["ends_at"][:19],
                40,
                "the worker to plan the next period",
            )
        finally:
            pipeline.delete_targets(stack, target)
