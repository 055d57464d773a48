"""Series of incidents, for the alerts of targets (monitoring/prometheus/rules/targets.yml), read from PostgreSQL.

A target that is up has no series. An alert fires while the last opened incident of a target has a higher id than the
last closed one: ids only grow, so that it does not matter which worker reported what, nor in what order. In maintenance
it is muted until a time, so that its end needs no worker.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal
from uuid import UUID

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel, ValidationError

from netmon import gauges
from netmon.database import Database, Row
from netmon.logs import logger
from netmon.specs import Spec
from netmon.target_models import Severity

LIMIT = 1000
"""Maximum number of incidents: each has four series in every worker. The oldest ones are exported, those in maintenance
last."""
CLOSED_MINUTES = 5
"""How long a closed incident is exported: longer than the look-back of the alerts."""
MUTED_EARLY_SECONDS = 10
"""How long before the start of maintenance an alert is muted: until then the rule knows of it, so that none fires."""

_MUTED = f"""
    coalesce(maintenance_from <= now() + interval '{MUTED_EARLY_SECONDS} s' AND now() < maintenance_until, false)"""
_OPEN = f"""
    SELECT incidents.id, incidents.target, incidents.state, started_at, cause, detail,
        name, spec, severity, degraded_severity, tags, succeeded_at,
        CASE WHEN {_MUTED} THEN maintenance_until END AS muted_until
    FROM incidents JOIN targets ON targets.id = incidents.target JOIN standings ON standings.target = targets.id
    WHERE ended_at IS NULL ORDER BY {_MUTED}, incidents.id LIMIT {LIMIT}"""  # noqa: S608 - numbers
_CLOSED = f"""
    SELECT target, max(id) AS id FROM (
        SELECT id, target FROM incidents WHERE ended_at > now() - interval '{CLOSED_MINUTES} min'
        UNION ALL
        SELECT id, target FROM deleted_incidents WHERE deleted_at > now() - interval '{CLOSED_MINUTES} min'
    ) AS closed GROUP BY target ORDER BY id DESC LIMIT {LIMIT}"""  # noqa: S608 - as above

log = logger(__name__)


class OpenIncident(BaseModel):
    """An open incident with the settings of its target."""

    id: int
    target: UUID
    state: Literal["degraded", "down"]
    started_at: datetime
    cause: str
    detail: str | None
    name: str
    spec: Spec
    severity: Severity
    degraded_severity: Severity
    tags: list[str]
    succeeded_at: datetime | None
    muted_until: datetime | None
    """The end of the maintenance that mutes its alert."""

    @property
    def alert_severity(self) -> Severity:
        """The severity of its alert."""
        return self.severity if self.state == "down" else self.degraded_severity

    @property
    def tag_list(self) -> str:
        """The tags as a label that matches `.*,TAG,.*`; empty without tags."""
        return f",{','.join(sorted(self.tags))}," if self.tags else ""


class IncidentCollector(Collector):
    """Exports the incidents that were measured last; none while the database is unavailable."""

    def __init__(self) -> None:
        self.opened: tuple[OpenIncident, ...] = ()
        self.closed: Mapping[UUID, int] = {}
        """The id of the last closed incident by target."""

    def describe(self) -> Iterable[Metric]:
        """The names of the series, so that registration does not collect."""
        return self._families()

    def collect(self) -> Iterable[Metric]:
        """The series of all incidents; of closed ones only that they are closed."""
        opened, closed, started, succeeded, muted = families = self._families()
        for identity, number in self.closed.items():
            closed.add_metric([str(identity)], number)
        for incident in self.opened:
            target = str(incident.target)
            opened.add_metric(
                [target, incident.name, incident.spec.kind, incident.tag_list, incident.state, incident.alert_severity],
                incident.id,
            )
            started.add_metric(
                [target, incident.spec.public_address, incident.cause, incident.detail or ""],
                incident.started_at.timestamp(),
            )
            # Without maintenance too, so that the end of a deleted window is known at once, despite the look-back.
            muted.add_metric([target], incident.muted_until.timestamp() if incident.muted_until else 0)
            if incident.succeeded_at is not None:
                succeeded.add_metric([target], incident.succeeded_at.timestamp())
        return families

    @staticmethod
    def _families() -> tuple[GaugeMetricFamily, ...]:
        return (
            GaugeMetricFamily(
                "netmon_incident_opened",
                "The id of the open incident of a target.",
                labels=["target", "name", "kind", "tags", "state", "severity"],
            ),
            GaugeMetricFamily(
                "netmon_incident_closed", "The id of an incident that was closed a moment ago.", labels=["target"]
            ),
            GaugeMetricFamily(
                "netmon_incident_started_timestamp_seconds",
                "The start of the open incident of a target.",
                labels=["target", "address", "cause", "detail"],
            ),
            GaugeMetricFamily(
                "netmon_incident_last_success_timestamp_seconds",
                "The last success of a target with an open incident.",
                labels=["target"],
            ),
            GaugeMetricFamily(
                "netmon_incident_muted_until_timestamp_seconds",
                "The end of the maintenance that mutes the alert of a target with an open incident; 0: not muted.",
                labels=["target"],
            ),
        )


def readable(rows: Iterable[Row]) -> tuple[OpenIncident, ...]:
    """The incidents in rows, without those of targets of a later release that this one cannot read.

    Otherwise all alerts of targets would resolve.
    """
    found = []
    for row in rows:
        try:
            found.append(OpenIncident.model_validate(row))
        except ValidationError as error:
            [first, *_] = error.errors(include_input=False, include_url=False)  # the input may have credentials
            log.warning("incident cannot be read", target=str(row["target"]), reason=first["msg"])
    return tuple(found)


async def export(database: Database) -> None:
    """Keep the series up to date until cancelled."""
    collector = IncidentCollector()
    REGISTRY.register(collector)

    async def measure() -> None:
        opened = readable(await database.all(_OPEN, ()))
        collector.closed = {row["target"]: row["id"] for row in await database.all(_CLOSED, ())}
        collector.opened = opened

    def forget() -> None:
        collector.opened, collector.closed = (), {}

    try:
        await gauges.watch(measure, forget)
    finally:
        REGISTRY.unregister(collector)
