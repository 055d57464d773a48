"""Alerts from Alertmanager: accepted into memory, and stored in PostgreSQL by a background task.

An alert about the database must arrive while the database is unavailable. While it is available, all replicas list the
same alerts, apart from those that another replica received a moment ago; otherwise each replica lists the last
IN_MEMORY alerts that it has received itself. Alerts that are not stored when a process ends are lost; Alertmanager
repeats those that are still firing.
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
from netmon.database import UNAVAILABLE_ERRORS, Database
from netmon.logs import logger
from netmon.supervision import Backoff, describe

IN_MEMORY = 1000
"""Maximum number of alerts in memory."""
LIMIT = 1000
"""Maximum number of alerts in a notification or a response."""
LEVELS = {"critical": logging.ERROR, "warning": logging.WARNING}

log = logger(__name__)

# PostgreSQL cannot store null characters, nor Python read back times at the limits of its range in every time zone.
Text = Annotated[str, Field(max_length=4096), AfterValidator(lambda text: text.replace("\0", "\ufffd"))]
Time = Annotated[AwareDatetime, Field(ge=datetime(1, 1, 1, tzinfo=UTC), lt=datetime(9999, 12, 31, tzinfo=UTC))]
Status = Literal["firing", "resolved"]
Key = tuple[str, datetime]


class DeliveredAlert(BaseModel):
    """An alert in a notification, see https://prometheus.io/docs/alerting/latest/configuration/#webhook_config."""

    status: Status
    labels: dict[Text, Text]
    annotations: dict[Text, Text] = Field(default_factory=dict)
    fingerprint: Annotated[Text, Field(min_length=1, max_length=64)]
    starts_at: Time = Field(alias="startsAt")
    ends_at: Time = Field(alias="endsAt")


class Notification(BaseModel):
    """A webhook notification of Alertmanager (version 4), without the fields that are not used."""

    alerts: Annotated[list[DeliveredAlert], Field(max_length=LIMIT)]


class Alert(BaseModel):
    """An alert that started to fire at `starts_at`, as last reported."""

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
    def of(cls, delivered: DeliveredAlert) -> Self:
        """An alert that is received now. The `endsAt` of a firing alert is only a timeout, and is dropped."""
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
        """Identifies an alert across its notifications; a new one each time it starts to fire."""
        return self.fingerprint, self.starts_at

    def supersedes(self, other: "Alert") -> bool:
        """Whether `other` must have ended, although its end was not reported, because it fires again as this alert."""
        return other.fingerprint == self.fingerprint and other.starts_at < self.starts_at and other.status == "firing"


class ReceivedAlerts:
    """The received alerts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._recent: OrderedDict[Key, Alert] = OrderedDict()
        self._unwritten: set[Key] = set()
        self._received = asyncio.Event()

    def receive(self, alert: Alert) -> None:
        """Accept an alert, replacing an earlier report of it; a background task stores it."""
        metrics.ALERTS_RECEIVED.labels(alert.status).inc()
        level = LEVELS.get(alert.severity, logging.INFO) if alert.status == "firing" else logging.INFO
        log.log(level, f"alert {alert.status}", alert=alert.alertname, service_concerned=alert.service)

        known = self._recent.pop(alert.key, None)
        if known is not None and known.status == "resolved":
            alert = known.model_copy(update={"received_at": alert.received_at})
        for key in [key for key, other in self._recent.items() if alert.supersedes(other)]:
            self._forget(key)
        self._recent[alert.key] = alert
        self._unwritten.add(alert.key)
        while len(self._recent) > IN_MEMORY:
            self._forget(next(iter(self._recent)))
        self._received.set()

    def _forget(self, key: Key) -> None:
        del self._recent[key]
        self._unwritten.discard(key)

    async def newest(self, limit: int, status: Status | None) -> list[Alert]:
        """The latest `limit` alerts, newest first; without the database, those in the memory of this process."""
        # An alert that is stored while the database answers may be in neither.
        unwritten = set(self._unwritten)
        try:
            known = {alert.key: alert for alert in (Alert(**row) for row in await self._database.alerts(limit, status))}
        except UNAVAILABLE_ERRORS as error:
            log.debug("alerts listed from memory", reason=describe(error))
            known = dict(self._recent)
        for key in (unwritten | self._unwritten) & self._recent.keys():
            if key not in known or known[key].status == "firing":
                known[key] = self._recent[key]
        alerts = [alert for alert in known.values() if status in (None, alert.status)]
        return sorted(alerts, key=lambda alert: alert.received_at, reverse=True)[:limit]

    async def run(self) -> None:
        """Store received alerts until cancelled."""
        backoff = Backoff("database")
        while True:
            await self._received.wait()
            self._received.clear()
            for key in list(self._unwritten):
                await self._write(key, backoff)

    async def _write(self, key: Key, backoff: Backoff) -> None:
        while key in self._unwritten:
            alert = self._recent[key]
            try:
                with tracing.untraced():
                    await self._database.put_alert(alert.model_dump())
            except UNAVAILABLE_ERRORS as error:
                await backoff.failed(describe(error))
                continue
            except Error:
                log.exception("alert not stored", alert=alert.alertname)
            if self._recent.get(key) == alert:
                self._unwritten.discard(key)


def router(received: ReceivedAlerts) -> APIRouter:
    """`POST /api/alerts`, the webhook of Alertmanager, and `GET /api/alerts`, from `received`."""
    routes = APIRouter(prefix="/api/alerts", tags=["alerts"])

    @routes.post("", status_code=HTTPStatus.NO_CONTENT)
    async def receive(notification: Notification) -> None:
        """Receive a notification from Alertmanager."""
        for delivered in notification.alerts:
            received.receive(Alert.of(delivered))

    @routes.get("")
    async def newest(limit: Annotated[int, Query(ge=1, le=LIMIT)] = 100, status: Status | None = None) -> list[Alert]:
        """List the received alerts, newest first."""
        return await received.newest(limit, status)

    return routes
