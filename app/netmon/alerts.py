"""Alerts that Alertmanager delivers: kept in memory at once, in PostgreSQL as soon as it is there.

An alert about the database must arrive while the database is away. So a notification is accepted into memory, and a
background task writes it down. What one process has not written yet is not seen by its replicas, and is lost if the
process ends before it can; Alertmanager repeats what goes on firing.
"""

import asyncio
import logging
from collections import OrderedDict
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query
from psycopg import OperationalError
from psycopg_pool import PoolTimeout
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from netmon import metrics, tracing
from netmon.database import Database
from netmon.logs import logger
from netmon.supervision import Backoff, describe

IN_MEMORY = 1000
LIMIT = 1000
LEVELS = {"critical": logging.ERROR, "warning": logging.WARNING}

log = logger(__name__)

Text = Annotated[str, Field(max_length=4096)]
Status = Literal["firing", "resolved"]


class Delivered(BaseModel):
    """One alert as it stands in a notification, see https://prometheus.io/docs/alerting/latest/configuration/."""

    status: Status
    labels: dict[Text, Text]
    annotations: dict[Text, Text] = Field(default_factory=dict)
    fingerprint: Annotated[str, Field(min_length=1, max_length=64)]
    starts_at: AwareDatetime = Field(alias="startsAt")
    ends_at: AwareDatetime = Field(alias="endsAt")


class Notification(BaseModel):
    """What Alertmanager's webhook sends (version 4); fields that are not used are not read."""

    alerts: Annotated[list[Delivered], Field(max_length=LIMIT)]


class Alert(BaseModel):
    """An alert that fired at `starts_at`, as it was told last."""

    model_config = ConfigDict(frozen=True)

    fingerprint: str
    status: Status
    alertname: str
    severity: str
    service: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: datetime
    ends_at: datetime | None
    received_at: datetime

    @classmethod
    def of(cls, delivered: Delivered) -> Self:
        """An alert received now. Alertmanager gives one that still fires an end, which is only a time-out."""
        return cls(
            **delivered.model_dump(exclude={"ends_at"}),
            ends_at=delivered.ends_at if delivered.status == "resolved" else None,
            alertname=delivered.labels.get("alertname", ""),
            severity=delivered.labels.get("severity", "none"),
            service=delivered.labels.get("service", ""),
            received_at=datetime.now(UTC),
        )

    @property
    def key(self) -> tuple[str, datetime]:
        """The same for every notification about one time that an alert fired."""
        return self.fingerprint, self.starts_at


class ReceivedAlerts:
    """The alerts received, newest first."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._recent: OrderedDict[tuple[str, datetime], Alert] = OrderedDict()
        self._unwritten: set[tuple[str, datetime]] = set()
        self._more = asyncio.Event()

    def receive(self, alert: Alert) -> None:
        """Take an alert, in place of what was known about the same one; it is written down later."""
        known = self._recent.pop(alert.key, None)
        if known is not None and known.status == "resolved":
            alert = known.model_copy(update={"received_at": alert.received_at})
        self._recent[alert.key] = alert
        self._unwritten.add(alert.key)
        while len(self._recent) > IN_MEMORY:
            key, _ = self._recent.popitem(last=False)
            self._unwritten.discard(key)
        self._more.set()
        metrics.ALERTS_RECEIVED.labels(alert.status).inc()
        level = LEVELS.get(alert.severity, logging.INFO) if alert.status == "firing" else logging.INFO
        log.log(level, f"alert {alert.status}", alert=alert.alertname, service_concerned=alert.service)

    async def newest(self, limit: int, status: Status | None) -> list[Alert]:
        """At most `limit` alerts; without the database those that this process remembers."""
        known = dict(self._recent)
        try:
            for row in await self._database.alerts(limit, status):
                written = Alert(**row)
                known.setdefault(written.key, written)
        except (OperationalError, TimeoutError) as error:
            log.debug("alerts told from memory", reason=describe(error))
        alerts = [alert for alert in known.values() if status in (None, alert.status)]
        return sorted(alerts, key=lambda alert: alert.received_at, reverse=True)[:limit]

    async def run(self) -> None:
        """Write down what is received, for ever."""
        backoff = Backoff("database")
        while True:
            await self._more.wait()
            self._more.clear()
            for key in list(self._unwritten):
                await self._write(key, backoff)

    async def _write(self, key: tuple[str, datetime], backoff: Backoff) -> None:
        while key in self._unwritten:
            alert = self._recent[key]
            try:
                with tracing.quiet():
                    await self._database.put_alert(alert.model_dump())
            except (OperationalError, PoolTimeout, TimeoutError) as error:
                await backoff.failed(describe(error))
            else:
                if self._recent.get(key) == alert:
                    self._unwritten.discard(key)


def router(received: ReceivedAlerts) -> APIRouter:
    """`POST /api/alerts`, a webhook for Alertmanager, and `GET /api/alerts`."""
    routes = APIRouter(prefix="/api/alerts", tags=["alerts"])

    @routes.post("", status_code=HTTPStatus.NO_CONTENT)
    async def receive(notification: Notification) -> None:
        """Take a notification of Alertmanager."""
        for delivered in notification.alerts:
            received.receive(Alert.of(delivered))

    @routes.get("")
    async def newest(limit: Annotated[int, Query(ge=1, le=LIMIT)] = 100, status: Status | None = None) -> list[Alert]:
        """The alerts received, newest first."""
        return await received.newest(limit, status)

    return routes
