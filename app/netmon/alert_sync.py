"""Keeps the stored alerts in agreement with Alertmanager, in case notifications were missed.

Alertmanager does not notify the end of alerts that fired when the whole stack was stopped, nor repeat a notification
that the application could not receive.
"""

import asyncio
import http.client
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, TypeAdapter

from netmon import tracing
from netmon.alerts import LIMIT, Alert, DeliveredAlert, Text, Time
from netmon.database import Database
from netmon.logs import logger
from netmon.supervision import describe

INTERVAL_SECONDS = 20.0
TIMEOUT_SECONDS = 3.0
SETTLING = timedelta(minutes=2)
"""How long a started Alertmanager may lack alerts: Prometheus sends those that are firing once a minute."""
RECEIVER = "app"
"""The name of the application among Alertmanager's receivers."""

log = logger(__name__)


class _Named(BaseModel):
    name: str


class _Status(BaseModel):
    state: Literal["unprocessed", "active", "suppressed"]


class CurrentAlert(BaseModel):
    """An alert in Alertmanager's API, see `openapi.yaml` of Alertmanager."""

    fingerprint: Text
    starts_at: Time = Field(alias="startsAt")
    labels: dict[Text, Text]
    annotations: dict[Text, Text]
    receivers: list[_Named]
    status: _Status

    @property
    def is_notified(self) -> bool:
        """Whether the application is notified: not if the alert is silenced or inhibited."""
        return self.status.state == "active" and RECEIVER in {receiver.name for receiver in self.receivers}


_Alerts = TypeAdapter(list[CurrentAlert])


class Current(NamedTuple):
    """Alertmanager's alerts, and the time at which it was started."""

    alerts: list[CurrentAlert]
    started_at: datetime


def changes(stored: Iterable[Alert], current: Iterable[CurrentAlert], now: datetime) -> list[Alert]:
    """The alerts that have to be stored, so that those stored as firing are the ones that Alertmanager has.

    An alert that is silenced or inhibited stays as it is.
    """
    firing = {alert.fingerprint: alert for alert in stored}
    known = {alert.fingerprint: alert for alert in current}
    ended = [
        alert.model_copy(update={"status": "resolved", "ends_at": max(now, alert.starts_at), "received_at": now})
        for fingerprint, alert in firing.items()
        if fingerprint not in known
    ]
    missed = [
        _alert(alert)
        for fingerprint, alert in known.items()
        if alert.is_notified and (fingerprint not in firing or firing[fingerprint].starts_at != alert.starts_at)
    ]
    return ended + missed


def _alert(alert: CurrentAlert) -> Alert:
    return Alert.of(
        DeliveredAlert(
            status="firing",
            fingerprint=alert.fingerprint,
            labels=alert.labels,
            annotations=alert.annotations,
            startsAt=alert.starts_at,
            endsAt=alert.starts_at,
        )
    )


async def run(database: Database, url: str) -> None:
    """Compare periodically until cancelled; Alertmanager may be absent."""
    with tracing.untraced():
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            try:
                await _compare(database, await asyncio.to_thread(fetch, url))
            except Exception as error:
                log.debug("alerts not compared", reason=describe(error))


async def _compare(database: Database, current: Current) -> None:
    now = datetime.now(UTC)
    if now - current.started_at < SETTLING:
        return
    stored = [Alert(**row) for row in await database.alerts(LIMIT, "firing")]
    for alert in changes(stored, current.alerts, now):
        log.info("alert corrected", alert=alert.alertname, status=alert.status)
        await database.put_alert(alert.model_dump())


def fetch(url: str) -> Current:
    """Request the alerts of the Alertmanager at a URL.

    Raises:
        OSError, http.client.HTTPException, ValueError: it does not answer, or not as its API does.
    """
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=TIMEOUT_SECONDS)
    try:
        alerts, status = (_get(connection, f"{address.path}/api/v2/{name}") for name in ("alerts", "status"))
    finally:
        connection.close()
    return Current(_Alerts.validate_python(alerts), datetime.fromisoformat(status["uptime"]))


def _get(connection: http.client.HTTPConnection, path: str) -> Any:
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise ValueError(f"status {response.status}")
    return json.loads(body)
