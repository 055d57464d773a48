"""Traces: one probe is one trace, over HTTP, SQL, AMQP, Kafka and Redis. Only this module knows the OpenTelemetry SDK.

Spans are made where the context is taken over or handed on (a request, a job, an event, a probe); the statements of
PostgreSQL and Redis are instrumented by the libraries made for them, without their values. The context travels in W3C
`traceparent` headers, and the id of the request with it. It is not handed to the targets that are probed: to them our
ids mean nothing, and they are not to learn them.
"""

import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from structlog.contextvars import bound_contextvars, get_contextvars

REQUEST_ID = "x-request-id"
EXPORT_TIMEOUT = 2.0
"""Seconds for one batch, tries included: a stop waits no longer for a collector that is away."""
EXPORT_EVERY = 1.0

_VALID_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_tracer = trace.get_tracer("netmon")
_provider: TracerProvider | None = None


def configure(service: str, version: str, endpoint: str) -> None:
    """Record spans from now on and send them over OTLP/HTTP; without an endpoint they only give log lines their ids.

    Args:
        service: the value of `service.name`.
        version: the value of `service.version`.
        endpoint: base URL of a collector, or empty. Further settings are the SDK's own variables, as
            `OTEL_TRACES_SAMPLER`.
    """
    global _provider  # noqa: PLW0603 - the SDK's own provider is global as well
    resource = Resource.create({"service.name": service, "service.namespace": "netmon", "service.version": version})
    _provider = TracerProvider(resource=resource)
    if endpoint:
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT)
        _provider.add_span_processor(
            BatchSpanProcessor(ReportingExporter(exporter), schedule_delay_millis=EXPORT_EVERY * 1000)
        )
    trace.set_tracer_provider(_provider)
    # It logs every failed attempt; `ReportingExporter` says once that there is something wrong.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    PsycopgInstrumentor().instrument()
    RedisInstrumentor().instrument()


def shutdown() -> None:
    """Send what is recorded; takes up to about twice EXPORT_TIMEOUT where the collector is away."""
    if _provider is not None:
        _provider.shutdown()


class ReportingExporter(SpanExporter):
    """Says once that spans cannot be delivered, and once that they can again; until then they are dropped."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._delivered = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export a batch, see `SpanExporter`."""
        result = self._exporter.export(spans)
        delivered = result is SpanExportResult.SUCCESS
        if delivered != self._delivered:
            self._delivered = delivered
            log = logging.getLogger(__name__)
            if delivered:
                log.info("traces are delivered again")
            else:
                log.warning("traces cannot be delivered and are dropped until they can")
        return result

    def shutdown(self) -> None:
        """End the export, see `SpanExporter`."""
        self._exporter.shutdown()


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
    headers = {key: value for key, value in (carrier or {}).items() if isinstance(value, str)}
    context = None if carrier is None else propagate.extract(headers, Context())
    known = request_id(headers)
    with (
        _tracer.start_as_current_span(name, context, kind, dict(attributes or {})) as current,
        bound_contextvars(**({"request_id": known} if known else {})),
    ):
        yield current


def request_id(carrier: Mapping[str, str]) -> str | None:
    """The id of the request in the headers of a request or message, if it has a valid one."""
    value = carrier.get(REQUEST_ID, "")
    return value if _VALID_REQUEST_ID.fullmatch(value) else None


def carrier() -> dict[str, str]:
    """The headers that hand the current trace and request id on to the next hop; none where there are none."""
    headers: dict[str, str] = {}
    propagate.inject(headers)
    known = get_contextvars().get("request_id")
    return headers | ({REQUEST_ID: known} if known else {})


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
