"""Models of targets and their incidents, and their form in events, the cache and API responses."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self
from uuid import UUID, uuid4

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from netmon.models import Plan, Probe, Standing
from netmon.states import WINDOW_LIMIT, ShownState, State, overdue_after

Severity = Literal["critical", "warning", "none"]
"""The severity of an alert; none: no alert."""
Tag = Annotated[str, StringConstraints(min_length=1, max_length=50, pattern=r"^\w[\w.:/-]*$")]
"""A word without separators, which an alert's label `tags` can be searched for."""


class TargetSettings(Plan):
    """The settings of a target, given by the user."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[
        str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]+$")
    ]
    interval_seconds: Annotated[int, Field(ge=5, le=86_400)] = 60
    failures: Annotated[int, Field(ge=1, le=WINDOW_LIMIT)] = 2
    """A target is down once this many of the last `window` results have failed, see `netmon.states`."""
    window: Annotated[int, Field(ge=1, le=WINDOW_LIMIT)] = 3
    enabled: bool = True
    severity: Severity = "critical"
    """The severity of its alert while it is down."""
    degraded_severity: Severity = "warning"
    """The severity of its alert while it is degraded."""
    tags: Annotated[list[Tag], Field(max_length=20)] = Field(default_factory=list)
    public: bool = False
    """Whether its name, state and uptime are on the public status page."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.failures > self.window:
            raise ValueError(f"failures ({self.failures}) must not exceed window ({self.window})")
        if len(set(self.tags)) < len(self.tags):
            raise ValueError("tags must be unique")
        return self


def settings_of(target: TargetSettings) -> TargetSettings:
    """The settings of a target or a request, without what else it has."""
    return TargetSettings.model_construct(**{name: getattr(target, name) for name in TargetSettings.model_fields})


class Target(TargetSettings):
    """A monitored target."""

    id: UUID
    created_at: AwareDatetime
    updated_at: AwareDatetime
    maintenance_from: AwareDatetime | None = None
    """The start of the current period of maintenance; if there is none, of the period that ended within the last day,
    otherwise of the next one. None without a period."""
    maintenance_until: AwareDatetime | None = None
    """The end of this period."""

    @classmethod
    def of(cls, settings: TargetSettings) -> Self:
        """Create a target."""
        now = datetime.now(UTC)
        return cls(**settings.model_dump(), id=uuid4(), created_at=now, updated_at=now)

    @property
    def settings(self) -> TargetSettings:
        """Its settings alone."""
        return settings_of(self)

    @property
    def plan(self) -> Plan:
        """The plan of its probes."""
        return Plan(spec=self.spec, timeout_seconds=self.timeout_seconds, retries=self.retries, slow_ms=self.slow_ms)

    @property
    def interval(self) -> timedelta:
        """The time from one scheduled probe to the next."""
        return timedelta(seconds=self.interval_seconds)

    @property
    def is_in_maintenance(self) -> bool:
        """Whether the target is in maintenance; in SQL, `netmon.states.IN_MAINTENANCE`."""
        if not self.enabled or self.maintenance_from is None or self.maintenance_until is None:
            return False
        return self.maintenance_from <= datetime.now(UTC) < self.maintenance_until

    def is_stale(self, stored_at: datetime) -> bool:
        """Whether the results are overdue, if the last one was stored then; in SQL, `netmon.states.IS_STALE`."""
        after = overdue_after(self.interval_seconds, self.patience_seconds)
        return self.enabled and datetime.now(UTC) - stored_at > after

    def masked(self) -> Self:
        """This target without credentials, as those who may change it read it."""
        return self.model_copy(update={"spec": self.spec.masked()})

    def for_readers(self) -> Self:
        """This target without credentials and without the values of queries, as everyone reads it."""
        return self.model_copy(update={"spec": self.spec.for_readers()})


class TargetView(Target):
    """A target with its state and last result, as the API returns it: without credentials, since reading is open.

    The queries of its URLs are masked, unless the request has a token.
    """

    standing: Standing
    latest: Probe | None = None
    """The last finished probe, without its standing."""
    stale: bool = False
    """Whether results are overdue: the state is that of the last result, and may have changed since."""
    in_maintenance: bool = False
    """Whether a maintenance window is in effect: no alert, and the time is not part of the uptime."""
    cautions: list[str] = Field(default_factory=list)
    """What makes the settings less safe than they could be, such as certificates that are not verified."""

    @classmethod
    def combine(
        cls, target: Target, standing: Standing, latest: Probe | None, stored_at: datetime, *, whole: bool = False
    ) -> Self:
        """Combine a target, its standing and its last result, without credentials and without repetition.

        Args:
            target: the target.
            standing: its standing.
            latest: its last result.
            stored_at: the time since which the target has no newer result.
            whole: whether the queries of its URLs are shown, to those who may change them.
        """
        alone = latest and latest.model_copy(update={"standing": None})
        stale = target.is_stale(stored_at)
        return cls.model_construct(
            **dict(target.masked() if whole else target.for_readers()),
            standing=standing,
            latest=alone,
            stale=stale,
            in_maintenance=target.is_in_maintenance,
            cautions=target.spec.cautions,
        )

    @property
    def shown_state(self) -> ShownState:
        """The state of the target in lists; in SQL, `netmon.states.SHOWN_STATE`."""
        if not self.enabled:
            return "paused"
        if self.in_maintenance:
            return "maintenance"
        return "stale" if self.stale else self.standing.state


READ_ONLY_FIELDS = TargetView.model_fields.keys() - TargetSettings.model_fields.keys()
"""The fields of a response that are no settings."""


class TargetPage(BaseModel):
    """A page of the list of targets by name."""

    model_config = ConfigDict(frozen=True)

    targets: list[TargetView]
    is_last: bool


class Overview(BaseModel):
    """A page of the list of targets by urgency, and figures of all targets."""

    model_config = ConfigDict(frozen=True)

    targets: list[TargetView]
    uptimes: dict[UUID, float]
    """The uptime of these targets in the last 24 hours in percent; a target without results has none."""
    matching: int
    """The number of targets on all pages."""
    counts: dict[ShownState, int]
    """The number of all targets by state."""
    open_incidents: int
    stored_at: datetime | None
    """When the newest result was stored; None without targets."""


class StateChange(BaseModel):
    """The event of a change of a target's state, caused by a result or by a change of the target.

    An event caused by a result has its `probe`, and its error or warning as the `cause`. An event caused by a change of
    the target has the state `unknown` and the `cause` `paused`, `edited` (the spec changed) or `deleted`.
    """

    model_config = ConfigDict(frozen=True)

    target: UUID
    name: str
    previous: State
    state: State
    at: AwareDatetime
    version: int = 0
    """That of the resulting standing; 0 from a release without versions, and if the target was deleted."""
    probe: UUID | None = None
    cause: str | None = None
    detail: str | None = None

    def encode(self) -> bytes:
        """Encode as JSON."""
        return self.model_dump_json().encode()


class Incident(BaseModel):
    """A period in which a target was degraded or down; `ended_at` is None while it is ongoing."""

    model_config = ConfigDict(frozen=True)

    id: int
    target: UUID
    name: str
    state: Literal["degraded", "down"]
    started_at: AwareDatetime
    ended_at: AwareDatetime | None
    cause: str
    detail: str | None
    in_maintenance: bool = False
    """Whether it is ongoing and its target is in maintenance, so that it has no alert."""
