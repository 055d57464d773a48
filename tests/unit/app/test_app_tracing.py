"""Traces: propagation, sampling, export and its failure."""

import http.server
import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import ClassVar

import httpx
import pytest
from fastapi import HTTPException
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, ParentBased
from opentelemetry.trace import SpanKind, StatusCode
from structlog.contextvars import get_contextvars

from netmon import tracing, web
from netmon.settings import Settings

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


def test_a_trace_is_continued_and_propagated(spans: InMemorySpanExporter) -> None:
    with tracing.span("process", SpanKind.CONSUMER, carrier={"traceparent": PARENT, "x-request-id": "abc"}):
        ids = tracing.ids()
        assert ids["trace_id"] == TRACE
        assert tracing.carrier() == {"traceparent": f"00-{TRACE}-{ids['span_id']}-01", "x-request-id": "abc"}
        assert tracing.exemplar() == {"trace_id": TRACE}
        assert get_contextvars()["request_id"] == "abc"
    assert tracing.carrier() == {}
    assert tracing.ids() == {}
    [span] = spans.get_finished_spans()
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == SPAN


@pytest.mark.parametrize(
    "carrier",
    [
        {},
        {"traceparent": "junk"},
        {"traceparent": f"ff-{TRACE}-{SPAN}-01"},
        {"traceparent": f"00-{'0' * 32}-{SPAN}-01"},
        {"traceparent": 7},
        {"traceparent": PARENT.encode()},
    ],
)
def test_an_invalid_context_starts_a_new_trace(spans: InMemorySpanExporter, carrier: dict[str, object]) -> None:
    with tracing.span("outside"), tracing.span("process", carrier=carrier):
        pass
    inner, outer = spans.get_finished_spans()
    assert inner.parent is None, "the enclosing span is not its parent either"
    assert f"{inner.context.trace_id:032x}" not in (TRACE, f"{outer.context.trace_id:032x}")


def test_a_trace_that_is_not_sampled_has_no_exemplar(spans: InMemorySpanExporter) -> None:
    with tracing.span("process", carrier={"traceparent": f"00-{TRACE}-{SPAN}-00"}):
        assert tracing.ids()["trace_id"] == TRACE
        assert tracing.exemplar() is None
    assert tracing.exemplar() is None


def test_the_spans_of_a_trace_that_is_not_sampled_have_their_own_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_provider", TracerProvider(ParentBased(ALWAYS_ON)))
    monkeypatch.setattr(tracing, "_tracer", None)  # the SDK is not used
    with tracing.span("process", carrier={"traceparent": f"00-{TRACE}-{SPAN}-00"}):
        outer = tracing.ids()
        assert outer["trace_id"] == TRACE
        assert tracing.carrier() == {"traceparent": f"00-{TRACE}-{outer['span_id']}-00"}
        with tracing.span("probe") as inner:
            assert not inner.is_recording()
            assert tracing.ids()["trace_id"] == TRACE
            assert len({SPAN, outer["span_id"], tracing.ids()["span_id"]}) == 3


def test_a_sampler_that_ignores_the_parent_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = TracerProvider(ALWAYS_ON)
    monkeypatch.setattr(tracing, "_provider", provider)
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("test"))
    with tracing.span("process", carrier={"traceparent": f"00-{TRACE}-{SPAN}-00"}) as span:
        assert span.is_recording()


def test_baggage_is_not_propagated(spans: InMemorySpanExporter) -> None:
    with tracing.span("process", carrier={"traceparent": PARENT, "baggage": "key=value"}):
        assert set(tracing.carrier()) == {"traceparent"}


def test_new_traces_are_sampled_up_to_the_rate_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    sampler = tracing.LimitedSampler(2)

    def recorded(times: int) -> int:
        return sum(sampler.should_sample().decision is Decision.RECORD_AND_SAMPLE for _ in range(times))

    assert recorded(5) == 2
    now += 0.5
    assert recorded(5) == 1
    now += 60
    assert recorded(5) == 2, "unused seconds do not accumulate"


class Collector(http.server.BaseHTTPRequestHandler):
    """Collects the resources and the names of received spans."""

    received: ClassVar[list[tuple[dict[str, str], str]]] = []

    def do_POST(self) -> None:
        request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
        for group in request.resource_spans:
            resource = {each.key: each.value.string_value for each in group.resource.attributes}
            self.received.extend((resource, span.name) for scope in group.scope_spans for span in scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def collector() -> Iterator[str]:
    Collector.received.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


PROGRAM = """
from netmon import tracing
tracing.configure("netmon-app", "1.2", export=True)
with tracing.span("work"):
    print(tracing.ids()["trace_id"])
tracing.shutdown()
"""


INSTRUMENTED = """
import sys
from netmon import tracing
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
tracing.configure("netmon-worker", "1.2", export=sys.argv[1] == "export")
with tracing.span("work"):
    print(len(tracing.ids()["trace_id"]), PsycopgInstrumentor().is_instrumented_by_opentelemetry)
tracing.shutdown()
"""


def run(*program: str, **environ: str) -> str:
    """The output of a process with these variables; the SDK has one provider per process."""
    path = {"PYTHONPATH": str(Path(__file__).parents[3] / "app")}
    command = [sys.executable, "-c", *(program or [PROGRAM])]
    done = subprocess.run(command, env=path | environ, capture_output=True, text=True, check=True, timeout=120)
    assert done.stderr == ""
    return done.stdout


def test_spans_are_exported_with_their_resource(collector: str) -> None:
    run(OTEL_EXPORTER_OTLP_ENDPOINT=collector, OTEL_TRACES_SAMPLER="", OTEL_BSP_SCHEDULE_DELAY="")
    [(resource, name)] = Collector.received
    assert name == "work"
    assert (resource["service.name"], resource["service.namespace"], resource["service.version"]) == (
        "netmon-app", "netmon", "1.2",
    )  # fmt: skip


def test_the_environment_variables_of_the_sdk_take_effect(collector: str) -> None:
    named = {"OTEL_SERVICE_NAME": "other", "OTEL_RESOURCE_ATTRIBUTES": "service.namespace=theirs,team=a"}
    run(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{collector}/v1/traces", **named)
    [(resource, _)] = Collector.received
    assert (resource["service.name"], resource["service.namespace"], resource["team"]) == ("other", "theirs", "a")
    assert len(run(OTEL_EXPORTER_OTLP_ENDPOINT=collector, OTEL_TRACES_SAMPLER="always_off").strip()) == 32
    assert len(Collector.received) == 1


def test_statements_are_instrumented_only_if_traces_are_exported(collector: str) -> None:
    assert run(INSTRUMENTED, "none") == "32 False\n"
    assert run(INSTRUMENTED, "export", OTEL_EXPORTER_OTLP_ENDPOINT=collector) == "32 True\n"


@pytest.mark.parametrize("value", ["", "a b", "x" * 65, "ä", "a\nb"])
def test_an_invalid_request_id_is_ignored(spans: InMemorySpanExporter, value: str) -> None:
    with tracing.span("process", carrier={"x-request-id": value}):
        assert "request_id" not in get_contextvars()


def test_an_exception_marks_the_span_as_an_error(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="broken"), tracing.span("work"):
        raise ValueError("broken")
    assert spans.get_finished_spans()[0].status.status_code is StatusCode.ERROR


class Exporter(SpanExporter):
    """Returns `result`."""

    result = SpanExportResult.SUCCESS

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002
        if self.result is SpanExportResult.FAILURE:
            logging.getLogger("opentelemetry.exporter.test").error("connection refused")
            logging.getLogger("opentelemetry.exporter.test").error("gave up")
        return self.result


def test_an_outage_of_the_collector_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="netmon")
    exporter = Exporter()
    reporting = tracing.ReportingExporter(exporter)
    for exporter.result in (
        SpanExportResult.SUCCESS, SpanExportResult.FAILURE, SpanExportResult.FAILURE, SpanExportResult.SUCCESS,
    ):  # fmt: skip
        reporting.export([])
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert caplog.messages[0].endswith(": connection refused")


@pytest.mark.anyio
async def test_requests_are_traced_but_health_checks_only_on_failure(
    app_settings: Settings, spans: InMemorySpanExporter
) -> None:
    app = web.create_app(app_settings, title="test")

    @app.get("/api/health/{what}")
    async def health(what: str) -> dict[str, str]:
        if what == "bad":
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE)
        return tracing.ids()

    @app.get("/api/things/{key}")
    async def thing(key: str) -> dict[str, str]:
        if key == "bad":
            raise RuntimeError("broken")
        return tracing.ids()

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get("/api/health/good")).json() == {}
        assert spans.get_finished_spans() == ()

        answer = await client.get("/api/things/1", headers={"traceparent": PARENT})
        assert answer.json()["trace_id"] == TRACE
        await client.get("/api/things/bad")
        await client.get("/api/health/bad")
        page = await client.get("/api/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
        plain = await client.get("/api/metrics")

    statuses = {span.name: span.status.status_code for span in spans.get_finished_spans()}
    assert statuses["GET /api/health/{what}"] is StatusCode.ERROR
    assert [span.status.status_code for span in spans.get_finished_spans() if span.name == "GET /api/things/{key}"] == [
        StatusCode.UNSET,
        StatusCode.ERROR,
    ]
    assert f'trace_id="{TRACE}"' in page.text
    assert page.headers["content-type"].startswith("application/openmetrics-text")
    assert TRACE not in plain.text


@pytest.mark.parametrize("file", [".env.example", "docker-compose.monitoring.yml", "docs/observability.md"])
def test_the_documented_limit_of_new_traces_is_the_default(file: str) -> None:
    text = (Path(__file__).parents[3] / file).read_text(encoding="utf-8")
    assert re.findall(r"(\d+) new traces (?:a|per) second", text) == [str(tracing.TRACES_PER_SECOND)]
