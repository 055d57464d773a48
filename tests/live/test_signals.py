"""The application's signals: traces of probes, gauges without stale values, alerts during outages."""

from __future__ import annotations

import http.server
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
import requests

from tests.live import pipeline
from tests.live.logstore import get
from tests.live.stack import Stack, until

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
SPANS = (
    ("netmon-app", "POST /api/probes"),
    ("netmon-app", "INSERT"),
    ("netmon-app", "send probes"),
    ("netmon-worker", "process probes"),
    ("netmon-worker", "probe"),
    ("netmon-worker", "INSERT"),
    ("netmon-worker", "SELECT"),
    ("netmon-worker", "WITH"),
    ("netmon-worker", "send probe.results"),
    ("netmon-worker", "process probe.results"),
    ("netmon-worker", "EVAL"),
)
"""The spans of one probe, with their services. Three statements store the result, the standing and the events."""


class Target(http.server.BaseHTTPRequestHandler):
    """Answers 200 and records the headers of the requests."""

    def do_GET(self) -> None:
        self.server.heads.append({name.lower(): value for name, value in self.headers.items()})  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def target(stack: Stack) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A target on the host, outside the stack, and the headers of the requests that it has received."""
    gateway = pipeline.gateway(stack)
    heads: list[dict[str, str]] = []
    with http.server.ThreadingHTTPServer((gateway, 0), Target) as server:
        server.heads = heads  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{gateway}:{server.server_port}/", heads
        server.shutdown()


def request_probe(stack: Stack, url: str, request: str = "") -> tuple[str, str, float]:
    """Request a probe with a new trace id; return the trace, the probe, and the seconds until it was accepted."""
    trace = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01", "X-Request-Id": request, **stack.authorization()}
    began = time.perf_counter()
    answer = requests.post(stack.url("/api/probes"), json={"url": url}, headers=headers, timeout=10)
    assert answer.status_code == 202, answer.text
    return trace, str(answer.json()["id"]), time.perf_counter() - began


def stored(stack: Stack, trace: str) -> str:
    """A trace from its store, as JSON; empty if the store does not have it."""
    store = {"tempo": "http://tempo:3200", "jaeger": "http://jaeger:16686"}[stack.store("traces")]
    try:
        return get(stack, f"{store}/api/traces/{trace}")
    except AssertionError:  # the program inside the stack failed: the store has returned 404
        return ""


def spans(node: Any, service: str = "") -> Iterator[tuple[str, str]]:
    """Service and name of each span of a trace, in Jaeger's format or in OTLP's."""
    match node:
        case {"data": [{"spans": list(records), "processes": dict(processes)}]}:
            for span in records:
                yield processes[span["processID"]]["serviceName"], span["operationName"]
        case {"resource": {"attributes": list(attributes)}, **groups}:
            names = {each["key"]: each["value"].get("stringValue", "") for each in attributes}
            yield from spans(list(groups.values()), names["service.name"])
        case {"spanId": _, "name": str(name)}:
            yield service, name
        case dict():
            yield from spans(list(node.values()), service)
        case list():
            for each in node:
                yield from spans(each, service)


def lines(stack: Stack, trace: str) -> dict[str, list[dict[str, Any]]]:
    """The log lines of a trace, by service."""
    found: dict[str, list[dict[str, Any]]] = {}
    for service in ("app", "worker"):
        text = stack.compose("logs", "--no-log-prefix", "--tail=2000", service)
        found[service] = [json.loads(line) for line in text.splitlines() if trace in line]
    return found


def gauges(stack: Stack, service: str, name: str) -> dict[str, str]:
    """The samples of a metric as exported by its process, labels and value."""
    page = get(stack, f"http://{service}:3000/api/metrics").splitlines()
    return dict(line[len(name) :].rsplit(" ", 1) for line in page if line.startswith((f"{name}{{", f"{name} ")))


@pytest.mark.image_set
def test_one_probe_is_one_trace_that_its_target_does_not_see(
    stack: Stack, target: tuple[str, list[dict[str, str]]]
) -> None:
    url, heads = target
    request = f"test-{secrets.token_hex(4)}"
    trace, probe, _ = request_probe(stack, f"{url}?token=very-secret", request)
    assert stack.result(probe)["trace_id"] == trace

    def complete() -> str:
        text = stored(stack, trace)
        return text if text and set(spans(json.loads(text))) >= set(SPANS) else ""

    text = until(complete, 30, f"all spans of trace {trace} to be stored")
    assert sorted(spans(json.loads(text))) == sorted(SPANS), "a span is missing or duplicate"
    assert "very-secret" not in text, "spans must have neither parameters of statements nor queries of targets"
    for service, written in lines(stack, trace).items():
        assert written, f"{service} has no log lines of the trace"
        assert {line["request_id"] for line in written} == {request}, service
        assert all(line["span_id"] for line in written)
    [head] = heads
    assert not {"traceparent", "tracestate", "baggage", "x-request-id"} & set(head)
    assert trace not in str(head)


def test_a_metric_has_an_exemplar_with_its_trace(stack: Stack) -> None:
    trace, probe, _ = request_probe(stack, "http://app:3000/api/health/live")
    stack.result(probe)
    page = requests.get(stack.url("/api/metrics"), headers={"Accept": OPEN_METRICS}, timeout=5)
    assert page.headers["Content-Type"].startswith("application/openmetrics-text")
    assert f'trace_id="{trace}"' in page.text
    assert "trace_id" not in requests.get(stack.url("/api/metrics"), timeout=5).text, (
        "exemplars are for OpenMetrics only"
    )


def test_a_gauge_of_an_unavailable_source_is_not_exported(stack: Stack) -> None:
    everything = {"database", "redis", "kafka", "rabbitmq"}
    assert {label.split('"')[1] for label in gauges(stack, "app", "netmon_dependency_up")} == everything
    until(lambda: len(gauges(stack, "worker", "netmon_queue_messages")) == 3, 10, "all queues to be measured")
    assert set(gauges(stack, "worker", "netmon_consumer_lag_messages").values()) == {"0.0"}
    stack.control("kill", "rabbitmq")
    try:
        until(lambda: not gauges(stack, "worker", "netmon_queue_messages"), 10, "the gauges of the queues to disappear")
        for service in ("app", "worker"):
            down = until(partial(unavailable, stack, service), 10, f"{service} to report a dependency")
            assert down == ["rabbitmq"]
    finally:
        stack.control("start", "rabbitmq")
        stack.wait_until_recovered()
    until(lambda: len(gauges(stack, "worker", "netmon_queue_messages")) == 3, 20, "all queues to be measured again")


def unavailable(stack: Stack, service: str) -> list[str]:
    """The dependencies that a process reports as unavailable."""
    samples = gauges(stack, service, "netmon_dependency_up")
    return [label.split('"')[1] for label, value in samples.items() if float(value) == 0]


def test_an_unavailable_collector_delays_no_request_and_is_logged_once(stack: Stack) -> None:
    with without(stack, "otel-collector", "pause"):
        since = datetime.now(UTC).isoformat()
        slowest = max(request_probe(stack, "http://app:3000/api/health/live")[2] for _ in range(20))
        assert slowest < 2, "a request has waited for the collector"
        time.sleep(6)  # several exports, each with a timeout of two seconds
        request_probe(stack, "http://app:3000/api/health/live")
        until(lambda: tracing_log(stack, since), 10, "the application to log that traces are dropped")
        assert tracing_log(stack, since) == [("warning", "trace export failed, dropping traces until it recovers")]
        began = time.monotonic()
        stack.control("stop", "worker")
        assert time.monotonic() - began < 6
        assert stack.container("worker")["State"]["ExitCode"] == 0
        stack.control("start", "worker")

    def delivered() -> bool:
        request_probe(stack, "http://app:3000/api/health/live")
        return tracing_log(stack, since)[-1] == ("info", "trace export recovered")

    until(delivered, 30, "the application to log that traces are delivered")
    assert len(tracing_log(stack, since)) == 2
    stack.wait_until_recovered()


def tracing_log(stack: Stack, since: str) -> list[tuple[str, str]]:
    """Level and message of the API's log records about traces."""
    text = stack.compose("logs", "--no-log-prefix", "--since", since, "app")
    records = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [
        (line["level"], line["message"].split(":")[0]) for line in records if line.get("logger") == "netmon.tracing"
    ]


@contextmanager
def without(stack: Stack, service: str, action: str) -> Iterator[None]:
    """Pause or stop a service while the block runs."""
    stack.compose(action, service)
    try:
        yield
    finally:
        stack.compose({"pause": "unpause", "stop": "start"}[action], service)


def test_an_alert_received_while_the_database_is_down_is_stored_later(stack: Stack) -> None:
    name = f"Test{secrets.token_hex(4)}"
    body = {
        "version": "4",
        "alerts": [
            {
                "status": "firing",
                "labels": {"alertname": name, "severity": "critical", "service": "db"},
                "annotations": {"summary": "null \0 character"},
                "startsAt": datetime.now(UTC).isoformat(),
                "endsAt": "0001-01-01T00:00:00Z",
                "fingerprint": name,
            }
        ],
    }
    with without(stack, "db", "stop"):
        assert requests.post(stack.url("/api/alerts"), json=body, timeout=5).status_code == 204
        assert name in listed(stack)
    stack.wait_until_recovered()
    count = f"SELECT count(*) FROM alerts WHERE alertname = '{name}'"  # noqa: S608 - a name generated by this test
    query = ("db", "psql", "-U", "postgres", "-d", "network_monitor", "-tAc", count)
    until(lambda: stack.exec(*query).strip() == "1", 20, "the alert to be stored")
    assert requests.post(stack.url("/api/alerts"), json=body, timeout=5).status_code == 204
    stack.control("restart", "app")
    stack.wait_until_recovered()
    assert stack.exec(*query).strip() == "1", "an alert received twice must be stored once"
    assert name in listed(stack), "the alert must survive a restart"


def listed(stack: Stack) -> set[str]:
    """The names of the alerts that the application lists."""
    return {alert["alertname"] for alert in requests.get(stack.url("/api/alerts"), timeout=10).json()}
