"""The series of incidents for the alerts of targets."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

from netmon import gauges, incident_metrics
from netmon.database import Database
from netmon.incident_metrics import ExportedIncident, IncidentCollector

from .waiting import until

pytestmark = pytest.mark.anyio

STARTED = datetime(2026, 11, 30, 5, 0, 0, tzinfo=UTC)
SPEC = {"kind": "http", "url": "https://shop.example/?token=secret"}


def row(number: int, target: str = "a1", **values: Any) -> dict[str, Any]:
    """An open incident as the database returns it."""
    return {
        "id": number, "target": target, "state": "down", "started_at": STARTED, "ended_at": None,
        "cause": "http_status", "detail": "status 500", "name": "Shop", "spec": SPEC, "severity": "critical",
        "degraded_severity": "warning", "tags": ["web", "eu"], "succeeded_at": None,
    } | values  # fmt: skip


def exposed(*rows: dict[str, Any]) -> list[str]:
    """The exported series, without comments and the common prefix."""
    registry, collector = CollectorRegistry(), IncidentCollector()
    registry.register(collector)
    collector.incidents = tuple(ExportedIncident(**each) for each in rows)
    lines = generate_latest(registry).decode().splitlines()
    return [line.removeprefix("netmon_incident_") for line in lines if not line.startswith("#")]


def test_an_open_incident_has_the_labels_of_its_alert() -> None:
    assert exposed(row(7)) == [
        'opened{kind="http",name="Shop",severity="critical",state="down",tags=",eu,web,",target="a1"} 7.0',
        'started_timestamp_seconds{address="https://shop.example/?token=•••",cause="http_status",detail="status 500",'
        'target="a1"} 1.7960148e+09',
    ]


def test_severity_is_that_of_the_state() -> None:
    [opened, _] = exposed(row(7, state="degraded", tags=[]))
    assert 'severity="warning",state="degraded",tags=""' in opened


def test_last_success_is_a_series_of_its_own() -> None:
    assert 'last_success_timestamp_seconds{target="a1"} 1.7960148e+09' in exposed(row(7, succeeded_at=STARTED))


def test_of_closed_incidents_only_the_last_id_of_each_target_is_exported() -> None:
    closed = [row(number, target, ended_at=STARTED) for number, target in ((5, "a1"), (6, "b2"), (7, "a1"))]
    assert exposed(row(8), *closed)[1:3] == ['closed{target="a1"} 7.0', 'closed{target="b2"} 6.0']
    assert exposed() == []


class Incidents(Database):
    """Returns rows, or fails."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] | Exception = []

    async def all(self, query: str, parameters: object) -> list[dict[str, Any]]:
        assert f"LIMIT {incident_metrics.LIMIT}" in query
        assert parameters == ()
        if isinstance(self.rows, Exception):
            raise self.rows
        return self.rows


async def test_series_follow_the_database_and_are_removed_while_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "INTERVAL_SECONDS", 0.001)
    database = Incidents()
    exporting = asyncio.create_task(incident_metrics.export(database))

    def value() -> float | None:
        labels = {"target": "a1", "name": "Shop", "kind": "http", "tags": ",eu,web,", "state": "down"}
        return REGISTRY.get_sample_value("netmon_incident_opened", {**labels, "severity": "critical"})

    database.rows = [row(7)]
    await until(lambda: value() == 7)
    database.rows = TimeoutError()
    await until(lambda: value() is None)
    database.rows = [row(8)]
    await until(lambda: value() == 8)
    exporting.cancel()
    with suppress(asyncio.CancelledError):
        await exporting
    assert value() is None
