"""The records that walk the whole way: as a job, a row, an event, a cached state and an answer."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple, Self
from uuid import UUID, uuid4

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from netmon.specs import HttpSpec, Spec
from netmon.states import WINDOW_LIMIT, State, Verdict

Status = Literal["queued", "succeeded", "failed"]
Caveat = Literal["slow", "certificate"]
Kind = Literal["http", "tcp", "dns", "ping"]

RECENT = 40
"""Results that a standing remembers: enough for the longest window, and for a sparkline."""


class Outcome(BaseModel):
    """What probing a target gave.

    `error` is a stable code (see `netmon.probing`), `detail` is for people; both are None for a success without a
    `warning`.
    """

    model_config = ConfigDict(frozen=True)

    status: Status
    finished_at: AwareDatetime
    duration_ms: float
    attempts: int = 1
    http_status: int | None = None
    certificate_days: float | None = None
    warning: Caveat | None = None
    error: str | None = None
    detail: str | None = None


class Point(NamedTuple):
    """A result in the history of a standing."""

    at: float
    """Seconds since 1970."""
    duration_ms: float
    verdict: Verdict


class Standing(BaseModel):
    """What the last results of a target say together; `recent` has the oldest first."""

    model_config = ConfigDict(frozen=True)

    state: State = "unknown"
    since: AwareDatetime
    recent: list[Point] = Field(default_factory=list)


class Probe(BaseModel):
    """A probe of one target, queued or finished.

    `target` is the id of a target that is watched, or the key of a URL that was probed once (`netmon.url_targets`).
    A finished probe of a watched target carries the standing that it led to.
    """

    model_config = ConfigDict(frozen=True)

    id: UUID
    url: str
    target: str
    kind: Kind = "http"
    status: Status = "queued"
    requested_at: AwareDatetime
    finished_at: AwareDatetime | None = None
    duration_ms: float | None = None
    attempts: int = 1
    http_status: int | None = None
    certificate_days: float | None = None
    warning: Caveat | None = None
    error: str | None = None
    detail: str | None = None
    trace_id: str | None = None
    standing: Standing | None = None

    @property
    def verdict(self) -> Verdict:
        """How a finished probe went."""
        return "bad" if self.status == "failed" else "poor" if self.warning else "good"

    def finished(self, outcome: Outcome) -> Self:
        """This probe with its outcome."""
        return self.model_copy(update=dict(outcome))

    def encode(self) -> bytes:
        """JSON, as it stands in messages and in the cache."""
        return self.model_dump_json().encode()

    @classmethod
    def decode(cls, data: bytes | str) -> Self:
        """The record in a message.

        Raises:
            ValueError: the message is not one (pydantic's ValidationError is a ValueError).
        """
        return cls.model_validate_json(data)


class Plan(BaseModel):
    """How a target is probed."""

    model_config = ConfigDict(frozen=True)

    spec: Spec
    timeout_seconds: Annotated[float, Field(ge=0.1, le=60)] = 10
    retries: Annotated[int, Field(ge=0, le=5)] = 0
    """Further attempts after one that failed, before the probe has failed."""
    slow_ms: Annotated[float, Field(gt=0, le=60_000)] | None = None
    """A success that takes longer is a warning."""


class Job(Probe):
    """What a worker is told: the probe to be carried out, and how.

    It is a probe with one member more, so that workers of another release understand what they know of it.
    """

    plan: Plan

    @model_validator(mode="before")
    @classmethod
    def _of_a_bare_probe(cls, data: Any) -> Any:
        """Let a job without a plan, of an earlier release, be the request of its URL that it was meant to be."""
        if isinstance(data, dict) and "plan" not in data:
            return {**data, "plan": {"spec": {"kind": "http", "url": data.get("url")}}}
        return data

    @classmethod
    def of(cls, plan: Plan, target: str, trace_id: str | None = None) -> Self:
        """A new job, requested now."""
        return cls(
            id=uuid4(),
            url=plan.spec.address,
            target=target,
            kind=plan.spec.kind,
            requested_at=datetime.now(UTC),
            trace_id=trace_id,
            plan=plan,
        )

    @property
    def probe(self) -> Probe:
        """The probe alone: how it is carried out is nobody's business but the worker's."""
        return Probe.model_construct(**{name: getattr(self, name) for name in Probe.model_fields})


class TargetSettings(Plan):
    """What is said of a target by whoever adds it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[
        str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]+$")
    ]
    interval_seconds: Annotated[int, Field(ge=5, le=86_400)] = 60
    failures: Annotated[int, Field(ge=1, le=WINDOW_LIMIT)] = 2
    """A target is down once so many of the last `window` results failed, see `netmon.states`."""
    window: Annotated[int, Field(ge=1, le=WINDOW_LIMIT)] = 3
    enabled: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.failures > self.window:
            raise ValueError(f"{self.failures} failures never fit into a window of {self.window} results")
        return self


class Target(TargetSettings):
    """A target that is watched."""

    id: UUID
    created_at: AwareDatetime
    updated_at: AwareDatetime

    @classmethod
    def of(cls, settings: TargetSettings) -> Self:
        """A new target."""
        now = datetime.now(UTC)
        return cls(**settings.model_dump(), id=uuid4(), created_at=now, updated_at=now)

    @property
    def plan(self) -> Plan:
        """How it is probed."""
        return Plan(spec=self.spec, timeout_seconds=self.timeout_seconds, retries=self.retries, slow_ms=self.slow_ms)

    @property
    def interval(self) -> timedelta:
        """From one probe to the next."""
        return timedelta(seconds=self.interval_seconds)

    def masked(self) -> Self:
        """The same without the values of its headers."""
        return self.model_copy(update={"spec": self.spec.masked()}) if isinstance(self.spec, HttpSpec) else self


class TargetView(Target):
    """A target with what is known of it. The values of headers are masked: reading is open to everybody inside."""

    standing: Standing
    latest: Probe | None = None
    """The last finished probe, its standing left out."""

    @classmethod
    def of_known(cls, target: Target, standing: Standing, latest: Probe | None) -> Self:
        """What is told of a target: nothing that is a secret, and nothing twice."""
        alone = latest and latest.model_copy(update={"standing": None})
        return cls.model_construct(**dict(target.masked()), standing=standing, latest=alone)


class StateChange(BaseModel):
    """The event of a target that came into another state: by a result, or because somebody changed the target.

    Only the former has a `probe`, and the result's error or warning as its `cause`. The latter leads to the state
    `unknown`, and its `cause` is `paused`, `edited` (another spec) or `deleted`.
    """

    model_config = ConfigDict(frozen=True)

    target: UUID
    name: str
    previous: State
    state: State
    at: AwareDatetime
    probe: UUID | None = None
    cause: str | None = None
    detail: str | None = None

    def encode(self) -> bytes:
        """JSON, as it stands in the event."""
        return self.model_dump_json().encode()


class Incident(BaseModel):
    """A time during which a target was not up; without an end it goes on."""

    model_config = ConfigDict(frozen=True)

    id: int
    target: UUID
    name: str
    state: Literal["degraded", "down"]
    started_at: AwareDatetime
    ended_at: AwareDatetime | None
    cause: str
    detail: str | None


class Statistics(BaseModel):
    """Of the results of a span of time, from rollups: whole five minutes, the current ones included."""

    model_config = ConfigDict(frozen=True)

    window: Literal["1h", "24h"]
    results: int
    failed: int
    uptime_percent: float | None
    """Results that did not fail, of all; None where there is none."""
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    """Of results that succeeded, with an error of at most 6 %."""


class Series(BaseModel):
    """Durations over a span of time, to be plotted: columns of the same length, oldest first.

    A point is a result, or the results of `step_seconds` together.
    """

    model_config = ConfigDict(frozen=True)

    span: Literal["1h", "6h", "24h", "7d", "30d"]
    step_seconds: int
    """0: single results."""
    at: list[float]
    """Seconds since 1970."""
    p50_ms: list[float | None]
    p95_ms: list[float | None]
    failed: list[int]
    results: list[int]
