"""Stored alerts that disagree with Alertmanager."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from netmon import alert_sync
from netmon.alert_sync import CurrentAlert, changes, fetch
from netmon.alerts import Alert
from tests.unit.app.waiting import until

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 30, 5, 0, tzinfo=UTC)
STARTED = NOW - timedelta(hours=1)


def current(name: str, state: str = "active", receiver: str = "app", starts_at: datetime = STARTED) -> dict[str, Any]:
    """An alert in Alertmanager's API."""
    return {
        "fingerprint": name.lower(), "startsAt": starts_at.isoformat(), "endsAt": NOW.isoformat(),
        "updatedAt": NOW.isoformat(), "labels": {"alertname": name, "severity": "critical", "service": "redis"},
        "annotations": {"summary": f"{name}!"}, "receivers": [{"name": receiver}],
        "status": {"state": state, "silencedBy": [], "inhibitedBy": []}, "generatorURL": "http://prometheus",
    }  # fmt: skip


def stored(name: str) -> Alert:
    """An alert that is stored as firing."""
    return Alert(
        fingerprint=name.lower(), status="firing", alertname=name, severity="critical", service="redis",
        labels={}, annotations={}, starts_at=STARTED, ends_at=None, received_at=STARTED,
    )  # fmt: skip


def corrected(known: list[Alert], *listed: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and statuses of the changes."""
    found = changes(known, [CurrentAlert(**each) for each in listed], NOW)
    return [(alert.alertname, alert.status) for alert in found]


def test_alerts_that_agree_are_not_changed() -> None:
    assert corrected([stored("RedisDown")], current("RedisDown")) == []


def test_an_alert_that_alertmanager_no_longer_has_is_resolved() -> None:
    assert corrected([stored("RedisDown"), stored("KafkaDown")], current("KafkaDown")) == [("RedisDown", "resolved")]
    [alert] = changes([stored("RedisDown")], [], NOW)
    assert (alert.ends_at, alert.received_at, alert.starts_at) == (NOW, NOW, STARTED)


def test_a_missed_alert_is_stored() -> None:
    assert corrected([], current("RedisDown")) == [("RedisDown", "firing")]
    [alert] = changes([], [CurrentAlert(**current("RedisDown"))], NOW)
    assert (alert.severity, alert.service, alert.annotations) == ("critical", "redis", {"summary": "RedisDown!"})


def test_an_alert_that_fires_again_is_stored_again() -> None:
    assert corrected([stored("RedisDown")], current("RedisDown", starts_at=NOW)) == [("RedisDown", "firing")]


@pytest.mark.parametrize("how", [{"state": "suppressed"}, {"receiver": "nobody"}])
def test_an_alert_that_is_not_notified_is_neither_added_nor_resolved(how: dict[str, str]) -> None:
    assert corrected([], current("RedisDown", **how)) == []  # type: ignore[arg-type]
    assert corrected([stored("RedisDown")], current("RedisDown", **how)) == []  # type: ignore[arg-type]


@contextmanager
def alertmanager(uptime: datetime, *alerts: dict[str, Any], status: int = 200) -> Iterator[str]:
    """Serve Alertmanager's API on this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answers = {"/api/v2/alerts": alerts, "/api/v2/status": {"uptime": uptime.isoformat()}}
            body = json.dumps(answers[self.path]).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_api_of_alertmanager_is_read() -> None:
    with alertmanager(STARTED, current("RedisDown")) as url:
        found = fetch(url)
    assert found.started_at == STARTED
    assert [(alert.fingerprint, alert.is_notified) for alert in found.alerts] == [("redisdown", True)]
    with alertmanager(STARTED, status=503) as url, pytest.raises(ValueError, match="status 503"):
        fetch(url)


class Database:
    """Firing alerts, and those that were put."""

    def __init__(self, *alerts: Alert) -> None:
        self.rows = [alert.model_dump() for alert in alerts]
        self.put: list[tuple[str, str]] = []
        self.reads = 0

    async def alerts(self, _limit: int, status: str) -> list[dict[str, Any]]:
        assert status == "firing"
        self.reads += 1
        return self.rows

    async def put_alert(self, alert: dict[str, Any]) -> None:
        self.put.append((alert["alertname"], alert["status"]))


async def test_alerts_are_corrected_once_alertmanager_has_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_sync, "INTERVAL_SECONDS", 0.001)
    database: Any = Database(stored("RedisDown"))
    now = datetime.now(UTC)
    for started, expected in ((now, []), (now - alert_sync.SETTLING, [("RedisDown", "resolved")])):
        with alertmanager(started) as url:
            syncing = asyncio.create_task(alert_sync.run(database, url))
            if expected:
                await until(lambda: database.put)
            else:
                await asyncio.sleep(0.1)
                assert not database.reads
            syncing.cancel()
            with suppress(asyncio.CancelledError):
                await syncing
        assert database.put[:1] == expected


async def test_an_absent_alertmanager_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_sync, "INTERVAL_SECONDS", 0.001)
    database: Any = Database(stored("RedisDown"))
    syncing = asyncio.create_task(alert_sync.run(database, "http://127.0.0.1:1"))
    await asyncio.sleep(0.05)
    assert not syncing.done()
    assert (database.reads, database.put) == (0, [])
    syncing.cancel()
    with suppress(asyncio.CancelledError):
        await syncing
