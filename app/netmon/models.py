"""Domain models, and their form in messages, events, the cache and API responses.

A probe has three forms: `Job`, the request in RabbitMQ; `Outcome`, which the prober returns; and `Probe`, the record in
PostgreSQL, Kafka, Redis and the API.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple, Self
from uuid import UUID, uuid4

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from netmon.phases import Phased
from netmon.secret_values import masked_url
from netmon.specs import Kind, Spec
from netmon.states import WINDOW_LIMIT, ShownState, State, Verdict, overdue_after

Status = Literal["queued", "succeeded", "failed"]
Severity = Literal["critical", "warning", "none"]
"""The severity of an alert; none: no alert."""
Tag = Annotated[str, StringConstraints(min_length=1, max_length=50, pattern=r"^\w[\w.:/-]*$")]
"""A word without separators, which an alert's label `tags` can be searched for."""
ResultWarning = Literal["slow", "certificate"]

CLOCK_TOLERANCE = timedelta(seconds=60)
"""How far the time of a result may be in the future before it is not trusted."""
RECENT_RESULTS = 40
"""Results that a standing keeps: enough for the longest window, and for a sparkline."""


class Outcome(BaseModel, Phased):
    """The result of probing a target; durations are milliseconds.

    `error` is a stable code (see `netmon.probing.errors`), `detail` explains it to people. A success has no `error`,
    and a `detail` only together with a `warning`. The phases of a probe (`lookup_ms` to `transfer_ms`) are sums over
    its redirects; a phase that was not reached, or that its kind does not have, is None. A ping of several packets has
    `loss_percent` and `jitter_ms`, and its duration is the mean time of the replies.
    """

    model_config = ConfigDict(frozen=True)

    status: Status
    finished_at: AwareDatetime
    duration_ms: float
    attempts: int = 1
    http_status: int | None = None
    certificate_days: float | None = None
    lookup_ms: float | None = None
    connect_ms: float | None = None
    tls_ms: float | None = None
    first_byte_ms: float | None = None
    transfer_ms: float | None = None
    loss_percent: float | None = None
    jitter_ms: float | None = None
    warning: ResultWarning | None = None
    error: str | None = None
    detail: str | None = None


class Point(NamedTuple):
    """A result in a standing."""

    at: float
    """Seconds since 1970."""
    duration_ms: float
    verdict: Verdict


class Standing(BaseModel):
    """The state of a target, and the results that it follows from: `recent`, oldest first."""

    model_config = ConfigDict(frozen=True)

    state: State = "unknown"
    since: AwareDatetime
    recent: list[Point] = Field(default_factory=list)
    succeeded_at: AwareDatetime | None = None
    """The time of the last successful result; None if there was none since the standing was reset."""
    stored_at: AwareDatetime | None = None
    """The time of the last change, by the clock of the database: of the last result, or of the reset."""
    version: int = 0
    """Grows with each change: the order of a target's results and events; 0 from a release without versions."""


class Probe(BaseModel, Phased):
    """A probe of one target, queued or finished.

    `target` is the id of a monitored target, or the key of a URL that was probed once (`netmon.url_targets`). A
    finished probe of a monitored target carries the resulting standing.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    id: UUID
    url: Annotated[str, AfterValidator(masked_url)]
    """The address for people: it is stored, published and logged, and the job has the spec that is probed."""
    target: str
    kind: Kind = "http"
    status: Status = "queued"
    requested_at: AwareDatetime
    finished_at: AwareDatetime | None = None
    duration_ms: float | None = None
    attempts: int = 1
    http_status: int | None = None
    certificate_days: float | None = None
    lookup_ms: float | None = None
    connect_ms: float | None = None
    tls_ms: float | None = None
    first_byte_ms: float | None = None
    transfer_ms: float | None = None
    loss_percent: float | None = None
    jitter_ms: float | None = None
    warning: ResultWarning | None = None
    error: str | None = None
    detail: str | None = None
    trace_id: str | None = None
    standing: Standing | None = None

    @property
    def verdict(self) -> Verdict:
        """The verdict on a finished probe."""
        return "bad" if self.status == "failed" else "poor" if self.warning else "good"

    def finished(self, outcome: Outcome) -> Self:
        """This probe with its outcome."""
        return self.model_copy(update=dict(outcome))

    def encode(self) -> bytes:
        """Encode as JSON, for messages and the cache."""
        return self.model_dump_json().encode()

    @classmethod
    def decode(cls, data: bytes | str) -> Self:
        """Decode from JSON.

        Raises:
            ValueError: the message is not a probe (pydantic's ValidationError is a ValueError).
        """
        return cls.model_validate_json(data)


class Plan(BaseModel):
    """How a target is probed."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    spec: Spec
    timeout_seconds: Annotated[float, Field(ge=0.1, le=60)] = 10
    retries: Annotated[int, Field(ge=0, le=5)] = 0
    """Attempts after the first one, while attempts fail."""
    slow_ms: Annotated[float, Field(gt=0, le=60_000)] | None = None
    """A success that takes longer than this many milliseconds is a warning."""

    @property
    def patience_seconds(self) -> float:
        """The seconds by which a result may follow its interval; in SQL, `netmon.states.PATIENCE`."""
        return self.spec.patience_seconds(self.timeout_seconds * (self.retries + 1))


class Job(Probe):
    """A request for a probe, in the work queue: the probe and its plan.

    It extends the probe by fields, so that workers of an earlier release can read it.
    """

    plan: Plan
    generation: int | None = None
    """That of the target's standing (`netmon.standings`); None for a URL, and in a job of an earlier release."""
    traceparent: str | None = None
    """The trace of a job in a batch, whose message has no trace of its own."""

    @model_validator(mode="before")
    @classmethod
    def _default_plan(cls, data: Any) -> Any:
        """Complete a job of an earlier release, which has no plan: a request of its URL."""
        if isinstance(data, dict) and "plan" not in data:
            return {**data, "plan": {"spec": {"kind": "http", "url": data.get("url")}}}
        return data

    @classmethod
    def of(
        cls,
        plan: Plan,
        target: str,
        trace_id: str | None = None,
        generation: int | None = None,
        traceparent: str | None = None,
    ) -> Self:
        """Create a job that is requested now."""
        return cls(
            id=uuid4(),
            url=plan.spec.address,
            target=target,
            kind=plan.spec.kind,
            requested_at=datetime.now(UTC),
            trace_id=trace_id,
            plan=plan,
            generation=generation,
            traceparent=traceparent,
        )

    @property
    def trace_headers(self) -> dict[str, str]:
        """Its trace as headers of a message; empty if its message has them."""
        return {"traceparent": self.traceparent} if self.traceparent else {}

    @property
    def probe(self) -> Probe:
        """The probe without its plan, which only the worker needs."""
        return Probe.model_construct(**{name: getattr(self, name) for name in Probe.model_fields})


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
