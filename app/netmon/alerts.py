"""Alerts that Alertmanager delivers: kept in memory at once, in PostgreSQL as soon as it is there.

An alert about the database must arrive while the database is away. So a notification is accepted into memory, and a
background task writes it down. While the database is there, every replica lists the same alerts, except what another
one has received within the last moment; without it each lists what it has itself received since its start, the last
IN_MEMORY of them. What is not written down when a process ends is lost; Alertmanager repeats what goes on firing.
"""

import asyncio
import logging
from collections import OrderedDict
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query
from psycopg import Error
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from netmon import metrics, tracing
from netmon.database import AWAY, Database
from netmon.logs import logger
from netmon.supervision import Backoff, describe

IN_MEMORY = 1000
LIMIT = 1000
LEVELS = {"critical": logging.ERROR, "warning": logging.WARNING}

log = logger(__name__)

# PostgreSQL stores no null character, and no time that Python cannot read back in another time zone.
Text = Annotated[str, Field(max_length=4096), AfterValidator(lambda text: text.replace("\0", "\ufffd"))]
Time = Annotated[AwareDatetime, Field(ge=datetime(1, 1, 1, tzinfo=UTC), lt=datetime(9999, 12, 31, tzinfo=UTC))]
Status = Literal["firing", "resolved"]
Key = tuple[str, datetime]


class Delivered(BaseModel):
    """One alert as it stands in a notification, see https://prometheus.io/docs/alerting/latest/configuration/."""

    status: Status
    labels: dict[Text, Text]
    annotations: dict[Text, Text] = Field(default_factory=dict)
    fingerprint: Annotated[Text, Field(min_length=1, max_length=64)]
    starts_at: Time = Field(alias="startsAt")
    ends_at: Time = Field(alias="endsAt")


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
    def key(self) -> Key:
        """The same for every notification about one time that an alert fired."""
        return self.fingerprint, self.starts_at

    def follows(self, other: "Alert") -> bool:
        """Whether the other one has ended, although nobody said so, because this one has begun since."""
        return other.fingerprint == self.fingerprint and other.starts_at < self.starts_at and other.status == "firing"


class ReceivedAlerts:
    """The alerts received, newest first."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._recent: OrderedDict[Key, Alert] = OrderedDict()
        self._unwritten: set[Key] = set()
        self._more = asyncio.Event()

    def receive(self, alert: Alert) -> None:
        """Take an alert, in place of what was known about the same one; it is written down later."""
        metrics.ALERTS_RECEIVED.labels(alert.status).inc()
        level = LEVELS.get(alert.severity, logging.INFO) if alert.status == "firing" else logging.INFO
        log.log(level, f"alert {alert.status}", alert=alert.alertname, service_concerned=alert.service)

        known = self._recent.pop(alert.key, None)
        if known is not None and known.status == "resolved":
            alert = known.model_copy(update={"received_at": alert.received_at})
        for key in [key for key, other in self._recent.items() if alert.follows(other)]:
            self._forget(key)
        self._recent[alert.key] = alert
        self._unwritten.add(alert.key)
        while len(self._recent) > IN_MEMORY:
            self._forget(next(iter(self._recent)))
        self._more.set()

    def _forget(self, key: Key) -> None:
        del self._recent[key]
        self._unwritten.discard(key)

    async def newest(self, limit: int, status: Status | None) -> list[Alert]:
        """At most `limit` alerts; without the database those that this process remembers."""
        try:
            known = {alert.key: alert for alert in (Alert(**row) for row in await self._database.alerts(limit, status))}
        except AWAY as error:
            log.debug("alerts told from memory", reason=describe(error))
            known = dict(self._recent)
        for key in self._unwritten:
            if key not in known or known[key].status == "firing":
                known[key] = self._recent[key]
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

    async def _write(self, key: Key, backoff: Backoff) -> None:
        while key in self._unwritten:
            alert = self._recent[key]
            try:
                with tracing.quiet():
                    await self._database.put_alert(alert.model_dump())
            except AWAY as error:
                await backoff.failed(describe(error))
                continue
            except Error:
                log.exception("alert not written down", alert=alert.alertname)
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
