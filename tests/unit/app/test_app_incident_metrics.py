"""The series of incidents for the alerts of targets."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from structlog.testing import capture_logs

from netmon import gauges, incident_metrics
from netmon.database import Database
from netmon.incident_metrics import IncidentCollector, OpenIncident, readable

from .waiting import until

pytestmark = pytest.mark.anyio

A = UUID(int=0xA1)
STARTED = datetime(2026, 11, 30, 5, 0, 0, tzinfo=UTC)
SPEC = {"kind": "http", "url": "https://shop.example/?token=secret"}


def row(number: int, **values: Any) -> dict[str, Any]:
    """An open incident as the database returns it."""
    return {
        "id": number, "target": A, "state": "down", "started_at": STARTED, "cause": "http_status",
        "detail": "status 500", "name": "Shop", "spec": SPEC, "severity": "critical", "degraded_severity": "warning",
        "tags": ["web", "eu"], "succeeded_at": None, "muted_until": None,
    } | values  # fmt: skip


def exposed(*rows: dict[str, Any], closed: dict[UUID, int] | None = None) -> list[str]:
    """The exported series, without comments and the common prefix."""
    registry, collector = CollectorRegistry(), IncidentCollector()
    registry.register(collector)
    collector.opened, collector.closed = tuple(OpenIncident(**each) for each in rows), closed or {}
    lines = generate_latest(registry).decode().splitlines()
    series = (line for line in lines if not line.startswith("#"))
    return [line.removeprefix("netmon_incident_").replace(str(A), "A") for line in series]


def test_an_open_incident_has_the_labels_of_its_alert() -> None:
    assert exposed(row(7)) == [
        'opened{kind="http",name="Shop",severity="critical",state="down",tags=",eu,web,",target="A"} 7.0',
        'started_timestamp_seconds{address="https://shop.example/?token=•••",cause="http_status",detail="status 500",'
        'target="A"} 1.7960148e+09',
        'muted_until_timestamp_seconds{target="A"} 0.0',
    ]


def test_an_alert_is_muted_until_the_end_of_maintenance() -> None:
    assert 'muted_until_timestamp_seconds{target="A"} 1.7960148e+09' in exposed(row(7, muted_until=STARTED))


def test_an_incident_of_a_later_release_does_not_hide_the_others() -> None:
    later = row(8, spec={"kind": "gopher", "headers": {"Authorization": "hidden"}})
    with capture_logs() as lines:
        assert [incident.id for incident in readable([row(7), later, row(9)])] == [7, 9]
    assert len(lines) == 1
    assert "'gopher'" in lines[0]["reason"]
    assert "hidden" not in str(lines)


def test_severity_is_that_of_the_state() -> None:
    [opened, *_] = exposed(row(7, state="degraded", tags=[]))
    assert 'severity="warning",state="degraded",tags=""' in opened


def test_last_success_is_a_series_of_its_own() -> None:
    assert 'last_success_timestamp_seconds{target="A"} 1.7960148e+09' in exposed(row(7, succeeded_at=STARTED))


def test_the_scrape_of_the_worker_has_room_for_every_incident() -> None:
    """Beside as many other series as the API may have."""
    scrape = Path(__file__).parents[3] / "monitoring/prometheus/scrape/app.yml"
    limits = {job["job_name"]: job["sample_limit"] for job in yaml.safe_load(scrape.read_text())["scrape_configs"]}
    numbers = range(incident_metrics.LIMIT)
    rows = (row(number, target=UUID(int=number), succeeded_at=STARTED) for number in numbers)
    series = exposed(*rows, closed={UUID(int=number): number for number in numbers})
    assert len(series) == 5 * incident_metrics.LIMIT
    assert limits["app"] + len(series) <= limits["worker"]


def test_of_a_closed_incident_only_its_id_is_exported() -> None:
    assert exposed(closed={A: 7}) == ['closed{target="A"} 7.0']
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
        return [{"target": A, "id": 6}] if "deleted_incidents" in query else self.rows


async def test_series_follow_the_database_and_are_removed_while_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "INTERVAL_SECONDS", 0.001)
    database = Incidents()
    exporting = asyncio.create_task(incident_metrics.export(database))

    def value() -> float | None:
        labels = {"target": str(A), "name": "Shop", "kind": "http", "tags": ",eu,web,", "state": "down"}
        return REGISTRY.get_sample_value("netmon_incident_opened", {**labels, "severity": "critical"})

    database.rows = [row(7)]
    await until(lambda: value() == 7)
    assert REGISTRY.get_sample_value("netmon_incident_closed", {"target": str(A)}) == 6
    database.rows = TimeoutError()
    await until(lambda: value() is None)
    database.rows = [row(8)]
    await until(lambda: value() == 8)
    exporting.cancel()
    with suppress(asyncio.CancelledError):
        await exporting
    assert value() is None
