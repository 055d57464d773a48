"""Traces: a probe is one trace across HTTP, SQL, AMQP, Kafka and Redis. Only this module uses the OpenTelemetry SDK.

Spans are created where the context is extracted or injected (requests, jobs, events, probes) and where states are
written to Redis; PostgreSQL statements are instrumented by a library, without their parameters. A cache read has no
span of its own: the span of its request has the attribute `netmon.cache`.

The context is propagated in W3C `traceparent` headers, together with the request id. Baggage is not propagated, since
any client could fill the queues with it. Nothing is propagated to probed targets, which must not learn internal ids.
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
    # Milliseconds: traces should be found while their cause is being looked at. At the limit of new traces, a batch of
    # this time is encoded and sent in 4 ms, which requests do not notice.
    "OTEL_BSP_SCHEDULE_DELAY": "1500",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "2",  # seconds for one batch, including retries
}
TRACES_PER_SECOND = 25
"""Rate limit for new traces in each process, unless OTEL_TRACES_SAMPLER selects another sampler."""
STOP_TIMEOUT_SECONDS = 2.0
"""How long a shutdown waits for the export of the last spans."""

_VALID_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_tracer = trace.get_tracer("netmon")
_propagator = TraceContextTextMapPropagator()
_ids = RandomIdGenerator()
_provider: TracerProvider | None = None


def configure(service: str, version: str, *, export: bool) -> None:
    """Set up the SDK. All other settings come from its own environment variables (`OTEL_…`).

    Args:
        service: the value of `service.name`, unless the environment sets it.
        version: the value of `service.version`, unless the environment sets it.
        export: whether to export spans over OTLP/HTTP to the endpoint in the environment; otherwise spans only provide
            the ids in log lines.
    """
    global _provider  # noqa: PLW0603 - the SDK's own provider is global as well
    _complete_environment({"OTEL_SERVICE_NAME": service, **DEFAULTS})
    own = Resource({"service.namespace": "netmon", "service.version": version})
    sampler = None if OTEL_TRACES_SAMPLER in os.environ else ParentBased(LimitedSampler(TRACES_PER_SECOND))
    _provider = TracerProvider(sampler if export else ParentBased(ALWAYS_OFF), own.merge(Resource.create()))
    if export:
        _provider.add_span_processor(BatchSpanProcessor(ReportingExporter(OTLPSpanExporter())))
        # The export thread encodes spans for milliseconds: with the default of 5 ms, requests would wait for it.
        sys.setswitchinterval(0.0005)
    trace.set_tracer_provider(_provider)
    if export:
        PsycopgInstrumentor().instrument()


def _complete_environment(defaults: Mapping[str, str]) -> None:
    """Prepare the environment that the SDK reads: empty variables count as unset, and some defaults differ."""
    for name in [name for name, value in os.environ.items() if name.startswith("OTEL_") and not value]:
        del os.environ[name]
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def shutdown() -> None:
    """Export the remaining spans. It may hang with the collector: wait for STOP_TIMEOUT_SECONDS at most."""
    if _provider is not None:
        _provider.shutdown()


class LimitedSampler(Sampler):
    """Samples all new traces up to a rate limit.

    Sampling all traces under load would cost a tenth of the throughput, and delay the requests that are processed while
    spans are encoded.
    """

    def __init__(self, per_second: float) -> None:
        self._per_second = self._left = per_second
        self._at = time.monotonic()

    def should_sample(self, *_args: Any, **_kwargs: Any) -> SamplingResult:
        """Decide about a trace by the rate alone, see `Sampler`."""
        now = time.monotonic()
        self._left = min(self._left + (now - self._at) * self._per_second, self._per_second)
        self._at = now
        if self._left < 1:
            return SamplingResult(Decision.DROP)
        self._left -= 1
        return SamplingResult(Decision.RECORD_AND_SAMPLE)

    def get_description(self) -> str:
        """The name of the sampler, see `Sampler`."""
        return f"LimitedSampler({self._per_second:g}/s)"


class ReportingExporter(SpanExporter):
    """Logs when the export of spans starts to fail and when it recovers; spans are dropped in between.

    The exporter of the SDK logs every failed attempt: those messages are captured, and the first one is logged as the
    reason.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._delivered = True
        self._captured = _LogCapture()
        for name in ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal"):
            sdk_logger = logging.getLogger(name)
            sdk_logger.handlers, sdk_logger.propagate = [self._captured], False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export a batch, see `SpanExporter`."""
        self._captured.messages.clear()
        result = self._exporter.export(spans)
        delivered = result is SpanExportResult.SUCCESS
        if delivered != self._delivered:
            self._delivered = delivered
            log = logging.getLogger(__name__)
            if delivered:
                log.info("trace export recovered")
            else:
                reason = next(iter(self._captured.messages), "unknown reason")
                log.warning("trace export failed, dropping traces until it recovers: %s", reason)
        return result

    def shutdown(self) -> None:
        """Shut down the exporter, see `SpanExporter`."""
        self._exporter.shutdown()


class _LogCapture(logging.Handler):
    """Captures log messages."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: deque[str] = deque(maxlen=10)

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@dataclass(frozen=True, slots=True)
class ActiveSpan:
    """A span that ends with its `with` block, as an error if the block raises; and the id of the request it belongs to.

    Several spans can be active at a time: a span is the current one only inside `current`.
    """

    span: Span
    request_id: str | None = None

    @contextmanager
    def current(self) -> Iterator[Span]:
        """Make this the current span inside the block: the parent of new spans, and the source of log ids."""
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
) -> ActiveSpan:
    """Start a span, see `span`; without a carrier it is a child of `parent` or of the current span."""
    if carrier is None:
        context = None if parent is None else trace.set_span_in_context(parent)
        return ActiveSpan(_start(name, context, kind, attributes))
    headers = {key: value for key, value in carrier.items() if isinstance(value, str)}
    context = _propagator.extract(headers, Context())
    return ActiveSpan(_start(name, context, kind, attributes), request_id(headers))


def _start(name: str, context: Context | None, kind: SpanKind, attributes: Mapping[str, str]) -> Span:
    parent = trace.get_current_span(context).get_span_context()
    if parent.is_valid and not parent.trace_flags.sampled and _follows_parents():
        # Not sampled, like most spans: it only needs an id, which is cheaper than a span of the SDK.
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
    """Run the block in a span, which ends as an error if the block raises.

    Args:
        name: the name, of low cardinality: metrics are derived for each.
        kind: the side of the exchange.
        attributes: attributes, by the semantic conventions where these define one.
        carrier: headers of a request or message, whose trace and request id are continued; if they are missing or
            invalid, a new trace starts.
    """
    with begin(name, kind, attributes or {}, carrier=carrier) as opened, opened.current() as current:
        yield current


@contextmanager
def shared_span(name: str, kind: SpanKind, attributes: Mapping[str, str], spans: Iterable[Span]) -> Iterator[None]:
    """Run the block in a child of each of these spans: for an operation that is shared by several traces."""
    with ExitStack() as opened:
        for each in spans:
            if each.is_recording():
                opened.enter_context(begin(name, kind, attributes, parent=each))
        yield


def request_id(carrier: Mapping[str, str]) -> str | None:
    """The request id in the headers of a request or message; None if it is missing or invalid."""
    value = carrier.get(REQUEST_ID, "")
    return value if _VALID_REQUEST_ID.fullmatch(value) else None


def carrier() -> dict[str, str]:
    """Headers that propagate the current trace and request id; empty if there are none."""
    headers: dict[str, str] = {}
    _propagator.inject(headers)
    known = get_contextvars().get("request_id")
    return headers | ({REQUEST_ID: known} if known else {})


def annotate(name: str, value: str) -> None:
    """Add an attribute to the current span."""
    trace.get_current_span().set_attribute(name, value)


def mark_failed(current: Span, reason: str) -> None:
    """Mark a span as an error without an exception; `reason` is a stable code (`error.type`)."""
    current.set_attribute("error.type", reason)
    current.set_status(Status(StatusCode.ERROR))


@contextmanager
def untraced() -> Iterator[None]:
    """Suppress the instrumentation of statements inside the block, for health checks and other background work."""
    with suppress_instrumentation():
        yield


def record_failure(name: str, seconds: float, attributes: Mapping[str, str | int]) -> None:
    """Record a server span that has just failed, for a request that is traced only on failure.

    Args:
        name: the name of the span.
        seconds: its duration.
        attributes: its attributes.
    """
    now = time.time_ns()
    failed_span = _tracer.start_span(
        name, kind=SpanKind.SERVER, start_time=now - round(seconds * 1e9), attributes=dict(attributes)
    )
    mark_failed(failed_span, str(attributes.get("http.response.status_code", "error")))
    failed_span.end(now)


def ids() -> dict[str, str]:
    """`trace_id` and `span_id` of the current span in hexadecimal, for log lines; empty without a span."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def exemplar() -> dict[str, str] | None:
    """The exemplar that links a measurement to the current trace; None if that is not sampled."""
    context = trace.get_current_span().get_span_context()
    return {"trace_id": f"{context.trace_id:032x}"} if context.is_valid and context.trace_flags.sampled else None
