"""Alerts from Alertmanager, with and without the database."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from psycopg import DataError, OperationalError
from psycopg.errors import UndefinedTable
from structlog.testing import capture_logs

from netmon import web
from netmon.alerts import IN_MEMORY, Alert, DeliveredAlert, ReceivedAlerts, router
from netmon.settings import Settings
from tests.unit.app.waiting import until

pytestmark = pytest.mark.anyio


class Database:
    """Rows of alerts by key."""

    def __init__(self) -> None:
        self.rows: dict[Any, dict[str, Any]] = {}
        self.error: Exception | None = None

    async def alerts(self, limit: int, status: str | None) -> list[dict[str, Any]]:
        if self.error:
            raise self.error
        return [row for row in self.rows.values() if status in (None, row["status"])][:limit]

    async def put_alert(self, alert: dict[str, Any]) -> None:
        if self.error:
            raise self.error
        self.rows[alert["fingerprint"], alert["starts_at"]] = alert


def delivered(name: str = "RedisDown", status: str = "firing", **changes: Any) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": name, "severity": "critical", "service": "redis"},
        "annotations": {"summary": "Redis is down"},
        "startsAt": "2026-01-01T00:00:00Z",
        "endsAt": "2026-01-01T00:05:00Z",
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": f"{name}-1",
    } | changes


def alert(name: str, **changes: Any) -> Alert:
    return Alert.of(DeliveredAlert.model_validate(delivered(name, **changes)))


def notification(*alerts: dict[str, Any]) -> dict[str, Any]:
    return {"version": "4", "status": "firing", "receiver": "app", "groupLabels": {}, "alerts": alerts}


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def received(database: Database) -> ReceivedAlerts:
    return ReceivedAlerts(database)  # type: ignore[arg-type]


@pytest.fixture
async def client(app_settings: Settings, received: ReceivedAlerts) -> AsyncIterator[httpx.AsyncClient]:
    app = web.create_app(app_settings, title="test")
    app.include_router(router(received))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
        yield client


async def test_an_alert_is_listed_and_resolved_in_place(client: httpx.AsyncClient) -> None:
    assert (await client.post("/api/alerts", json=notification(delivered()))).status_code == 204
    [alert] = (await client.get("/api/alerts")).json()
    assert (alert["alertname"], alert["severity"], alert["service"]) == ("RedisDown", "critical", "redis")
    assert (alert["status"], alert["ends_at"]) == ("firing", None)
    await client.post("/api/alerts", json=notification(delivered()))
    await client.post("/api/alerts", json=notification(delivered(status="resolved")))
    [alert] = (await client.get("/api/alerts")).json()
    assert (alert["status"], alert["ends_at"]) == ("resolved", "2026-01-01T00:05:00Z")
    assert (await client.get("/api/alerts", params={"status": "firing"})).json() == []


async def test_a_late_notification_does_not_revive_a_resolved_alert(client: httpx.AsyncClient) -> None:
    await client.post("/api/alerts", json=notification(delivered(status="resolved")))
    await client.post("/api/alerts", json=notification(delivered()))
    [alert] = (await client.get("/api/alerts")).json()
    assert alert["status"] == "resolved"


async def test_an_alert_that_fires_again_is_a_new_one_and_the_newest_comes_first(client: httpx.AsyncClient) -> None:
    await client.post("/api/alerts", json=notification(delivered(status="resolved")))
    await client.post("/api/alerts", json=notification(delivered(startsAt="2026-01-02T00:00:00Z")))
    alerts = (await client.get("/api/alerts")).json()
    assert [alert["status"] for alert in alerts] == ["firing", "resolved"]
    assert len((await client.get("/api/alerts", params={"limit": 1})).json()) == 1


async def test_an_alert_that_fires_again_supersedes_one_that_was_never_resolved(client: httpx.AsyncClient) -> None:
    for day in ("01", "02", "03"):
        await client.post("/api/alerts", json=notification(delivered("Watchdog", startsAt=f"2026-01-{day}T00:00:00Z")))
    [alert] = (await client.get("/api/alerts")).json()
    assert alert["starts_at"] == "2026-01-03T00:00:00Z"


@pytest.mark.parametrize(
    "error", [OperationalError("unavailable"), UndefinedTable("no schema yet"), TimeoutError()], ids=type
)
async def test_alerts_are_accepted_without_the_database_and_stored_afterwards(
    client: httpx.AsyncClient, database: Database, received: ReceivedAlerts, error: Exception
) -> None:
    database.error = error
    assert (await client.post("/api/alerts", json=notification(delivered("PostgresDown")))).status_code == 204
    assert [alert["alertname"] for alert in (await client.get("/api/alerts")).json()] == ["PostgresDown"]
    storing = asyncio.create_task(received.run())
    await asyncio.sleep(0.05)
    assert not database.rows
    database.error = None
    await until(lambda: database.rows)
    storing.cancel()
    [row] = database.rows.values()
    assert row["alertname"] == "PostgresDown"


async def test_an_alert_that_cannot_be_stored_does_not_block_others(
    client: httpx.AsyncClient, database: Database, received: ReceivedAlerts
) -> None:
    database.error = DataError("rejected")
    await client.post("/api/alerts", json=notification(delivered("Odd")))
    with capture_logs() as lines:
        storing = asyncio.create_task(received.run())
        await until(lambda: lines)
    assert [(line["event"], line["alert"]) for line in lines] == [("alert not stored", "Odd")]
    database.error = None
    await client.post("/api/alerts", json=notification(delivered("Even")))
    await until(lambda: database.rows)
    assert not storing.done()
    storing.cancel()
    assert [row["alertname"] for row in database.rows.values()] == ["Even"]


async def test_null_characters_are_replaced(client: httpx.AsyncClient) -> None:
    body = notification(delivered(annotations={"summary": "a\0b"}))
    assert (await client.post("/api/alerts", json=body)).status_code == 204
    [alert] = (await client.get("/api/alerts")).json()
    assert alert["annotations"]["summary"] == "a\ufffdb"


async def test_alerts_that_another_process_stored_are_listed(
    client: httpx.AsyncClient, database: Database, received: ReceivedAlerts
) -> None:
    await client.post("/api/alerts", json=notification(delivered("KafkaDown")))
    storing = asyncio.create_task(received.run())
    await until(lambda: database.rows)
    storing.cancel()
    other = ReceivedAlerts(database)  # type: ignore[arg-type]
    assert [alert.alertname for alert in await other.newest(10, None)] == ["KafkaDown"]
    await database.put_alert(alert("KafkaDown", status="resolved").model_dump())
    assert [alert["status"] for alert in (await client.get("/api/alerts")).json()] == ["resolved"]


async def test_an_alert_that_is_stored_while_the_database_answers_is_listed(
    received: ReceivedAlerts, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def alerts(_limit: int, _status: str | None) -> list[dict[str, Any]]:
        """The rows of a moment before the alert was stored."""
        storing = asyncio.create_task(received.run())
        await until(lambda: not received._unwritten)
        storing.cancel()
        return []

    monkeypatch.setattr(database, "alerts", alerts)
    received.receive(alert("KafkaDown"))
    assert [each.alertname for each in await received.newest(10, None)] == ["KafkaDown"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"alerts": [{"status": "firing"}]},
        notification(delivered(status="unknown")),
        notification(delivered(startsAt="yesterday")),
        notification(delivered(startsAt="0001-01-01T00:00:00+05:00")),
        notification(delivered(endsAt="9999-12-31T23:59:59-05:00")),
        notification(delivered(labels={"alertname": "x" * 5000})),
        notification(*[delivered()] * 1001),
    ],
    ids=["empty", "no labels", "status", "time", "too early", "too late", "long", "many"],
)
async def test_an_invalid_notification_is_rejected(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    assert (await client.post("/api/alerts", json=body)).status_code == 422
    assert (await client.get("/api/alerts")).json() == []


async def test_the_body_limit_of_notifications_is_larger(client: httpx.AsyncClient) -> None:
    many = notification(*(delivered(f"Alert{n}") for n in range(300)))
    assert (await client.post("/api/alerts", json=many)).status_code == 204
    too_large = notification(delivered(annotations={str(n): "x" * 4000 for n in range(300)}))
    assert (await client.post("/api/alerts", json=too_large)).status_code == 413


async def test_the_number_of_alerts_in_memory_is_limited(received: ReceivedAlerts, database: Database) -> None:
    database.error = OperationalError("unavailable")
    for number in range(IN_MEMORY + 5):
        received.receive(alert(f"Alert{number}"))
    assert len(received._recent) == IN_MEMORY
    assert len(received._unwritten) == IN_MEMORY
