"""The application's own signals: one probe is one trace, gauges tell no old news, alerts arrive whatever is away."""

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

from tests.live.logstore import get
from tests.live.stack import Stack, until

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
WAY = (
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
"""Every step of one probe: service and span. Its result is stored by three statements: itself, standings, events."""


class Target(http.server.BaseHTTPRequestHandler):
    """Answers, and keeps the headers that it was sent."""

    def do_GET(self) -> None:
        self.server.heads.append({name.lower(): value for name, value in self.headers.items()})  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def target(stack: Stack) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A target on the host that is not part of the stack, and the headers of the requests that it got."""
    gateway = stack.docker("network", "inspect", f"{stack.name}_egress-network", "--format",
                           "{{(index .IPAM.Config 0).Gateway}}").strip()  # fmt: skip
    heads: list[dict[str, str]] = []
    with http.server.ThreadingHTTPServer((gateway, 0), Target) as server:
        server.heads = heads  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{gateway}:{server.server_port}/", heads
        server.shutdown()


def ask(stack: Stack, url: str, request: str = "") -> tuple[str, str, float]:
    """Ask for a probe under a trace id of our own: the trace, the probe, the seconds until it was accepted."""
    trace = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01", "X-Request-Id": request, **stack.access()}
    began = time.perf_counter()
    answer = requests.post(stack.url("/api/probes"), json={"url": url}, headers=headers, timeout=10)
    assert answer.status_code == 202, answer.text
    return trace, str(answer.json()["id"]), time.perf_counter() - began


def stored(stack: Stack, trace: str) -> str:
    """A trace as its store has it, in JSON; empty while it has none."""
    store = {"tempo": "http://tempo:3200", "jaeger": "http://jaeger:16686"}[stack.store("traces")]
    try:
        return get(stack, f"{store}/api/traces/{trace}")
    except AssertionError:  # the program inside the stack failed: the store says 404
        return ""


def steps(node: Any, service: str = "") -> Iterator[tuple[str, str]]:
    """Service and name of each span of a trace, in Jaeger's format or in OTLP's."""
    match node:
        case {"data": [{"spans": list(spans), "processes": dict(processes)}]}:
            for span in spans:
                yield processes[span["processID"]]["serviceName"], span["operationName"]
        case {"resource": {"attributes": list(attributes)}, **groups}:
            names = {each["key"]: each["value"].get("stringValue", "") for each in attributes}
            yield from steps(list(groups.values()), names["service.name"])
        case {"spanId": _, "name": str(name)}:
            yield service, name
        case dict():
            yield from steps(list(node.values()), service)
        case list():
            for each in node:
                yield from steps(each, service)


def lines(stack: Stack, trace: str) -> dict[str, list[dict[str, Any]]]:
    """The log lines of app and worker that belong to a trace."""
    found: dict[str, list[dict[str, Any]]] = {}
    for service in ("app", "worker"):
        text = stack.compose("logs", "--no-log-prefix", "--tail=2000", service)
        found[service] = [json.loads(line) for line in text.splitlines() if trace in line]
    return found


def gauges(stack: Stack, service: str, name: str) -> dict[str, str]:
    """The samples of a metric, as its process tells them: labels and value."""
    page = get(stack, f"http://{service}:3000/api/metrics").splitlines()
    return dict(line[len(name) :].rsplit(" ", 1) for line in page if line.startswith((f"{name}{{", f"{name} ")))


@pytest.mark.image_set
def test_one_probe_is_one_trace_and_its_target_learns_nothing(
    stack: Stack, target: tuple[str, list[dict[str, str]]]
) -> None:
    url, heads = target
    request = f"test-{secrets.token_hex(4)}"
    trace, probe, _ = ask(stack, f"{url}?token=very-secret", request)
    assert stack.result(probe)["trace_id"] == trace

    def complete() -> str:
        text = stored(stack, trace)
        return text if text and set(steps(json.loads(text))) >= set(WAY) else ""

    text = until(complete, 30, f"all steps of trace {trace} to be stored")
    assert sorted(steps(json.loads(text))) == sorted(WAY), "no step is missing, none is done twice"
    assert "very-secret" not in text, "no parameter of a statement, no query of a target"
    for service, written in lines(stack, trace).items():
        assert written, f"{service} has log lines of the trace"
        assert {line["request_id"] for line in written} == {request}, service
        assert all(line["span_id"] for line in written)
    [head] = heads
    assert not {"traceparent", "tracestate", "baggage", "x-request-id"} & set(head)
    assert trace not in str(head)


def test_a_measurement_leads_to_its_trace(stack: Stack) -> None:
    trace, probe, _ = ask(stack, "http://app:3000/api/health/live")
    stack.result(probe)
    page = requests.get(stack.url("/api/metrics"), headers={"Accept": OPEN_METRICS}, timeout=5)
    assert page.headers["Content-Type"].startswith("application/openmetrics-text")
    assert f'trace_id="{trace}"' in page.text
    assert "trace_id" not in requests.get(stack.url("/api/metrics"), timeout=5).text, "unless it is asked for"


def test_a_gauge_whose_source_is_away_is_not_told(stack: Stack) -> None:
    everything = {"database", "redis", "kafka", "rabbitmq"}
    assert {label.split('"')[1] for label in gauges(stack, "app", "netmon_dependency_up")} == everything
    until(lambda: len(gauges(stack, "worker", "netmon_queue_messages")) == 2, 10, "both queues to be measured")
    assert set(gauges(stack, "worker", "netmon_consumer_lag_messages").values()) == {"0.0"}
    stack.compose("kill", "rabbitmq")
    try:
        until(lambda: not gauges(stack, "worker", "netmon_queue_messages"), 10, "the depth of the queues to be unknown")
        for service in ("app", "worker"):
            told = until(partial(missed, stack, service), 10, f"{service} to miss a dependency")
            assert told == ["rabbitmq"]
    finally:
        stack.compose("start", "rabbitmq")
        stack.invoke("wait")
    until(lambda: len(gauges(stack, "worker", "netmon_queue_messages")) == 2, 20, "both queues to be measured again")


def missed(stack: Stack, service: str) -> list[str]:
    """The dependencies that a process says are away."""
    told = gauges(stack, service, "netmon_dependency_up")
    return [label.split('"')[1] for label, value in told.items() if float(value) == 0]


def test_without_a_collector_requests_go_on_and_it_is_said_once(stack: Stack) -> None:
    with without(stack, "otel-collector", "pause"):
        since = datetime.now(UTC).isoformat()
        slowest = max(ask(stack, "http://app:3000/api/health/live")[2] for _ in range(20))
        assert slowest < 2, "nobody waits for the collector"
        time.sleep(6)  # several exports, each given up after two seconds
        ask(stack, "http://app:3000/api/health/live")
        until(lambda: trace_log(stack, since), 10, "the application to log that traces are dropped")
        assert trace_log(stack, since) == [("warning", "trace export failed, dropping traces until it recovers")]
        began = time.monotonic()
        stack.compose("stop", "worker")
        assert time.monotonic() - began < 6
        assert stack.container("worker")["State"]["ExitCode"] == 0
        stack.compose("start", "worker")

    def delivered() -> bool:
        ask(stack, "http://app:3000/api/health/live")
        return trace_log(stack, since)[-1] == ("info", "trace export recovered")

    until(delivered, 30, "the application to log that the export has recovered")
    assert len(trace_log(stack, since)) == 2
    stack.invoke("wait")


def trace_log(stack: Stack, since: str) -> list[tuple[str, str]]:
    """Levels and messages of the log lines of the API about traces."""
    text = stack.compose("logs", "--no-log-prefix", "--since", since, "app")
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [(line["level"], line["message"].split(":")[0]) for line in lines if line.get("logger") == "netmon.tracing"]


@contextmanager
def without(stack: Stack, service: str, how: str) -> Iterator[None]:
    """A service is paused or stopped while the block runs."""
    stack.compose(how, service)
    try:
        yield
    finally:
        stack.compose({"pause": "unpause", "stop": "start"}[how], service)


def test_an_alert_arrives_while_the_database_is_away_and_is_kept(stack: Stack) -> None:
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
    stack.invoke("wait")
    count = f"SELECT count(*) FROM alerts WHERE alertname = '{name}'"  # noqa: S608 - a name of this test's own
    query = ("exec", "-T", "db", "psql", "-U", "postgres", "-d", "network_monitor", "-tAc", count)
    until(lambda: stack.compose(*query).strip() == "1", 20, "the alert to be written down")
    assert requests.post(stack.url("/api/alerts"), json=body, timeout=5).status_code == 204
    stack.compose("restart", "app")
    stack.invoke("wait")
    assert stack.compose(*query).strip() == "1", "told twice, kept once"
    assert name in listed(stack), "another process knows it"


def listed(stack: Stack) -> set[str]:
    """The names of the alerts that the application lists."""
    return {alert["alertname"] for alert in requests.get(stack.url("/api/alerts"), timeout=10).json()}
