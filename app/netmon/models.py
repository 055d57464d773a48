"""Models of probes, and their form in messages, events, the cache and API responses.

A probe has three forms: `Job`, the request in RabbitMQ; `Outcome`, which the prober returns; and `Probe`, the record in
PostgreSQL, Kafka, Redis and the API.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple, Self
from uuid import UUID, uuid4

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from netmon.phases import Phased
from netmon.secret_values import masked_url
from netmon.specs import Kind, Spec
from netmon.states import State, Verdict

Status = Literal["queued", "succeeded", "failed"]
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
