"""Traces: one probe is one trace, over HTTP, SQL, AMQP, Kafka and Redis. Only this module knows the OpenTelemetry SDK.

Spans are made where the context is taken over or handed on (a request, a job, an event, a probe) and where a state is
put into Redis; the statements of PostgreSQL are instrumented by the library made for them, without their values. A read
of the cache has no span of its own: nothing else happens in a request that the cache answers, and its span says so.

The context travels in W3C `traceparent` headers, and the id of the request with it; baggage does not, since anyone
could fill the queues with it. Nothing is handed to the targets that are probed: to them our ids mean nothing, and they
are not to learn them.
"""

import logging
import os
import re
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Self

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.environment_variables import OTEL_TRACES_SAMPLER
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.contextvars import bound_contextvars, get_contextvars

REQUEST_ID = "x-request-id"
DEFAULTS = {
    # Milliseconds: a trace is to be found while one still looks at its cause. Every second would be too often: requests
    # wait while spans are encoded and sent, and with as many of them waiting the p99 shows it.
    "OTEL_BSP_SCHEDULE_DELAY": "3000",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "2",  # seconds for one batch, tries included
}
TRACES_A_SECOND = 25
"""New traces that a process records at most, unless OTEL_TRACES_SAMPLER says otherwise."""
STOP_TIMEOUT = 2.0
"""Seconds that a stop waits for the last spans to be delivered."""

_VALID_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_tracer = trace.get_tracer("netmon")
_propagator = TraceContextTextMapPropagator()
_ids = RandomIdGenerator()
_provider: TracerProvider | None = None


def configure(service: str, version: str, *, export: bool) -> None:
    """Record spans from now on. Everything but the arguments is set by the SDK's own variables (`OTEL_…`).

    Args:
        service: the value of `service.name`, unless the environment has another.
        version: the value of `service.version`, likewise.
        export: whether to send spans over OTLP/HTTP to the endpoint that the environment names; otherwise they only
            give log lines their ids.
    """
    global _provider  # noqa: PLW0603 - the SDK's own provider is global as well
    _complete_environment({"OTEL_SERVICE_NAME": service, **DEFAULTS})
    own = Resource({"service.namespace": "netmon", "service.version": version})
    sampler = None if OTEL_TRACES_SAMPLER in os.environ else ParentBased(LimitedSampler(TRACES_A_SECOND))
    _provider = TracerProvider(sampler if export else ParentBased(ALWAYS_OFF), own.merge(Resource.create()))
    if export:
        _provider.add_span_processor(BatchSpanProcessor(ReportingExporter(OTLPSpanExporter())))
        # Its thread encodes spans for milliseconds; requests need not wait for Python's own 5 ms to get their turn.
        sys.setswitchinterval(0.0005)
    trace.set_tracer_provider(_provider)
    if export:
        PsycopgInstrumentor().instrument()


def _complete_environment(defaults: Mapping[str, str]) -> None:
    """Where the SDK reads its settings: an empty variable counts as unset here too, and some defaults are ours."""
    for name in [name for name, value in os.environ.items() if name.startswith("OTEL_") and not value]:
        del os.environ[name]
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def shutdown() -> None:
    """Send what is recorded. Where the collector hangs, this takes longer than anyone should wait (STOP_TIMEOUT)."""
    if _provider is not None:
        _provider.shutdown()


class LimitedSampler(Sampler):
    """Records every new trace, up to so many a second.

    To record them all under a load whose traces nobody could read would take a tenth of the throughput, and a request
    that is answered while spans are encoded waits for that.
    """

    def __init__(self, per_second: float) -> None:
        self._per_second = self._left = per_second
        self._at = time.monotonic()

    def should_sample(self, *_args: Any, **_kwargs: Any) -> SamplingResult:
        """Decide about a trace, whatever it is of."""
        now = time.monotonic()
        self._left = min(self._left + (now - self._at) * self._per_second, self._per_second)
        self._at = now
        if self._left < 1:
            return SamplingResult(Decision.DROP)
        self._left -= 1
        return SamplingResult(Decision.RECORD_AND_SAMPLE)

    def get_description(self) -> str:
        """What it is called, see `Sampler`."""
        return f"LimitedSampler({self._per_second:g}/s)"


class ReportingExporter(SpanExporter):
    """Says once that spans cannot be delivered, and once that they can again; until then they are dropped.

    The SDK's exporter logs every failed attempt. Its first words on a batch become the reason that is given here.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._delivered = True
        self._said = _Memory()
        for name in ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal"):
            talkative = logging.getLogger(name)
            talkative.handlers, talkative.propagate = [self._said], False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export a batch, see `SpanExporter`."""
        self._said.messages.clear()
        result = self._exporter.export(spans)
        delivered = result is SpanExportResult.SUCCESS
        if delivered != self._delivered:
            self._delivered = delivered
            log = logging.getLogger(__name__)
            if delivered:
                log.info("traces are delivered again")
            else:
                reason = next(iter(self._said.messages), "no reason given")
                log.warning("traces cannot be delivered and are dropped until they can: %s", reason)
        return result

    def shutdown(self) -> None:
        """End the export, see `SpanExporter`."""
        self._exporter.shutdown()


class _Memory(logging.Handler):
    """Keeps log messages instead of writing them."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: deque[str] = deque(maxlen=10)

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@dataclass(frozen=True, slots=True)
class Open:
    """A span that is open until its block ends; an exception makes it a failed one.

    Several can be open side by side, since each is the current one inside `current` alone.
    """

    span: Span
    request_id: str | None = None

    @contextmanager
    def current(self) -> Iterator[Span]:
        """What is done inside belongs to this span, and log lines carry its ids."""
        token = attach(trace.set_span_in_context(self.span))
        try:
            with bound_contextvars(request_id=self.request_id) if self.request_id else nullcontext():
                yield self.span
        finally:
            detach(token)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Exception):
            self.span.record_exception(error)
            self.span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
        self.span.end()


def begin(
    name: str,
    kind: SpanKind,
    attributes: Mapping[str, str],
    *,
    carrier: Mapping[str, object] | None = None,
    parent: Span | None = None,
) -> Open:
    """A span that begins now, see `span`; without a carrier it is a child of `parent`, or of the current span."""
    if carrier is None:
        context = None if parent is None else trace.set_span_in_context(parent)
        return Open(_start(name, context, kind, attributes))
    headers = {key: value for key, value in carrier.items() if isinstance(value, str)}
    context = _propagator.extract(headers, Context())
    return Open(_start(name, context, kind, attributes), request_id(headers))


def _start(name: str, context: Context | None, kind: SpanKind, attributes: Mapping[str, str]) -> Span:
    parent = trace.get_current_span(context).get_span_context()
    if parent.is_valid and not parent.trace_flags.sampled and _follows_parents():
        # Not recorded either, as most are not: it only needs an id, and the SDK does more than that for each.
        return NonRecordingSpan(SpanContext(parent.trace_id, _ids.generate_span_id(), is_remote=False))
    return _tracer.start_span(name, context, kind, dict(attributes))


def _follows_parents() -> bool:
    return _provider is not None and isinstance(_provider.sampler, ParentBased)


@contextmanager
def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Mapping[str, str] | None = None,
    carrier: Mapping[str, object] | None = None,
) -> Iterator[Span]:
    """A span around the block; an exception makes it a failed one.

    Args:
        name: of few possible ones: rates and durations are kept for each.
        kind: which side of an exchange it is.
        attributes: of the semantic conventions, as far as these name one.
        carrier: headers of a request or message, from whose trace it goes on, and whose request id log lines inside
            then carry; what is missing or invalid in them begins anew.
    """
    with begin(name, kind, attributes or {}, carrier=carrier) as opened, opened.current() as current:
        yield current


@contextmanager
def shared(name: str, kind: SpanKind, attributes: Mapping[str, str], spans: Iterable[Span]) -> Iterator[None]:
    """A child of each of these spans around the block, for what is done once for all of them."""
    with ExitStack() as opened:
        for each in spans:
            if each.is_recording():
                opened.enter_context(begin(name, kind, attributes, parent=each))
        yield


def request_id(carrier: Mapping[str, str]) -> str | None:
    """The id of the request in the headers of a request or message, if it has a valid one."""
    value = carrier.get(REQUEST_ID, "")
    return value if _VALID_REQUEST_ID.fullmatch(value) else None


def carrier() -> dict[str, str]:
    """The headers that hand the current trace and request id on to the next hop; none where there are none."""
    headers: dict[str, str] = {}
    _propagator.inject(headers)
    known = get_contextvars().get("request_id")
    return headers | ({REQUEST_ID: known} if known else {})


def annotate(name: str, value: str) -> None:
    """Add an attribute to the current span."""
    trace.get_current_span().set_attribute(name, value)


def failed(current: Span, reason: str) -> None:
    """Mark a span as failed without an exception; `reason` is a stable code (`error.type`)."""
    current.set_attribute("error.type", reason)
    current.set_status(Status(StatusCode.ERROR))


@contextmanager
def quiet() -> Iterator[None]:
    """No spans of statements inside: health checks and the like would drown the rest."""
    with suppress_instrumentation():
        yield


def record_failure(name: str, seconds: float, attributes: Mapping[str, str | int]) -> None:
    """A failed server span that has just ended, for a request that was quiet until it failed."""
    now = time.time_ns()
    late = _tracer.start_span(
        name, kind=SpanKind.SERVER, start_time=now - round(seconds * 1e9), attributes=dict(attributes)
    )
    failed(late, str(attributes.get("http.response.status_code", "error")))
    late.end(now)


def ids() -> dict[str, str]:
    """`trace_id` and `span_id` of the current span, in hexadecimal, for log lines; empty outside of one."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def exemplar() -> dict[str, str] | None:
    """What leads from a measurement to its trace; None if that is not recorded."""
    context = trace.get_current_span().get_span_context()
    return {"trace_id": f"{context.trace_id:032x}"} if context.is_valid and context.trace_flags.sampled else None
