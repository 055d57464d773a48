"""Follows one request from its metric to its trace to its log lines."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toolkit.checkout import credentials
from toolkit.core.polling import NEVER, CheckError, until
from toolkit.core.report import Finding
from toolkit.engine.stack_http import Request, Response
from toolkit.observe.stack import Stack, data, url

CHECK = "one request"
TARGET = "http://app:3000/api/health/live"
"""The probed URL, inside the stack, so that no internet access is needed."""

ROUTE = 'http_request_duration_seconds_bucket{job="app", method="POST", route="/api/probes"}'
PARTICIPANTS = frozenset({"app", "worker"})
SPANS_OF = frozenset(f"netmon-{name}" for name in PARTICIPANTS)
TIMEOUT_SECONDS = 30.0
"""Timeout for the slowest of the three signals: a scrape, the collector's batches, the stores."""
PAUSE = 0.3
FOLLOWED_SECONDS = 6.0
"""Seconds (two scrapes) in which all signals of a request are found; then the newest request is followed instead."""


@dataclass
class Trail:
    """A request, by its trace id, and the evidence found of it by signal."""

    trace: str
    began: float
    evidence: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Signal:
    """A signal: the service that stores it, the query for a request, and the evidence in the response (empty: none)."""

    name: str
    store: str
    request: Callable[[Trail], Request]
    evidence_in: Callable[[Trail, Response], str]


def check(stack: Stack) -> Iterator[Finding]:
    """The exemplar, the trace and the log lines of one request are found by its trace id."""
    expected = list(signals(stack))
    missing = {"logs", "traces", "metrics"} - {signal.name for signal in expected}
    for name in sorted(missing):
        yield Finding.skipped(CHECK, name, "no store for them is running")
    if why := next(filter(None, map(stack.unavailable_reason, ("app", "worker", "otel-collector"))), ""):
        yield Finding.skipped(CHECK, "app and worker", why)
        return
    try:
        trail = send(stack)
    except CheckError as error:
        yield Finding.of(CHECK, "POST /api/probes", str(error))
        return
    try:
        follow(stack, trail, expected, TIMEOUT_SECONDS)
    except CheckError as error:
        for signal in expected:
            problem = "" if signal.name in trail.evidence else f"{error} (trace {trail.trace})"
            yield Finding.of(CHECK, signal.name, problem, trail.evidence.get(signal.name, ""))
        return
    for signal in expected:
        yield Finding.of(CHECK, signal.name, "", trail.evidence[signal.name])


def signals(stack: Stack) -> Iterator[Signal]:
    """The signals of this stack, each with its running store."""
    logs = (Signal("logs", "loki", _loki, _loki_lines), Signal("logs", "victorialogs", _victorialogs, _victoria_lines))
    traces = (Signal("traces", "tempo", _tempo, _spans), Signal("traces", "jaeger", _jaeger, _spans))
    for stores in ((Signal("metrics", "prometheus", _exemplars, _exemplar),), traces, logs):
        yield from [signal for signal in stores if signal.store in stack.running][:1]


def send(stack: Stack) -> Trail:
    """Request a probe with a trace id of our own.

    Raises:
        CheckError: the application rejects it.
    """
    trail = Trail(secrets.token_hex(16), time.time())
    traced = {"traceparent": f"00-{trail.trace}-{secrets.token_hex(8)}-01"}
    headers = credentials.authorization(stack.project) | traced
    [answer] = stack.fetch([Request.post(url("app", "/api/probes"), {"url": TARGET}, headers=headers)])
    if answer.problem:
        raise CheckError(f"the application rejects a probe: {answer.problem}")
    return trail


def follow(
    stack: Stack, trail: Trail, expected: Sequence[Signal], seconds: float, stop: threading.Event = NEVER
) -> None:
    """Wait until all signals are found; ``trail`` has the evidence so far.

    Raises:
        CheckError: some signals were not found in time.
    """
    followed = time.monotonic()

    def all_found() -> bool:
        nonlocal followed
        if any(signal.name == "metrics" for signal in expected) and time.monotonic() - followed > FOLLOWED_SECONDS:
            followed = time.monotonic()
            [answer] = stack.fetch([_exemplars(trail)])
            follow_newest(trail, answer)
        missing = [signal for signal in expected if signal.name not in trail.evidence]
        answers = stack.fetch([signal.request(trail) for signal in missing])
        for signal, answer in zip(missing, answers, strict=True):
            if evidence := signal.evidence_in(trail, answer):
                trail.evidence[signal.name] = evidence
            elif signal.name == "metrics" and follow_newest(trail, answer):
                # A bucket keeps only its newest exemplar: this scrape has that of a request beside ours.
                return False
        return len(trail.evidence) == len(expected)

    until("its signals", all_found, seconds, PAUSE, stop)


def follow_newest(trail: Trail, answer: Response) -> bool:
    """Follow the request of the newest exemplar; whether it is another one."""
    found = [exemplar for series in data(answer) or () for exemplar in series["exemplars"]]
    newest = max(found, key=lambda exemplar: float(exemplar["timestamp"]), default=None)
    if not newest or newest["labels"].get("trace_id", trail.trace) == trail.trace:
        return False
    trail.trace = newest["labels"]["trace_id"]
    trail.evidence.clear()
    return True


def _exemplars(trail: Trail) -> Request:
    span = {"start": f"{trail.began - 1:.0f}", "end": f"{time.time() + 1:.0f}"}
    return Request(url("prometheus", "/api/v1/query_exemplars", query=ROUTE, **span))


def _exemplar(trail: Trail, answer: Response) -> str:
    for series in data(answer) or ():
        for exemplar in series["exemplars"]:
            if exemplar["labels"].get("trace_id") == trail.trace:
                labels = series["seriesLabels"]
                return f"exemplar of {labels.get('method')} {labels.get('route')}: {float(exemplar['value']):.3f} s"
    return ""


def _tempo(trail: Trail) -> Request:
    return Request(url("tempo", f"/api/traces/{trail.trace}"), headers={"Accept": "application/json"})


def _jaeger(trail: Trail) -> Request:
    return Request(url("jaeger", f"/api/traces/{trail.trace}"))


def _spans(_trail: Trail, answer: Response) -> str:
    services = set(_services(answer.json())) if answer.ok else set()
    return f"spans of {', '.join(sorted(services))}" if services >= SPANS_OF else ""


def _services(node: Any) -> Iterator[str]:
    """The services with spans in a trace, in Jaeger's form (serviceName) or OTLP's (an attribute)."""
    match node:
        case {"key": "service.name", "value": {"stringValue": str(name)}} | {"serviceName": str(name)}:
            yield name
        case Mapping():
            for value in node.values():
                yield from _services(value)
        case list():
            for value in node:
                yield from _services(value)


def _loki(trail: Trail) -> Request:
    query = f'{{service_name=~"{"|".join(sorted(PARTICIPANTS))}"}} | trace_id="{trail.trace}"'
    span = {"start": f"{trail.began - 1:.0f}", "end": f"{time.time() + 1:.0f}"}
    return Request(url("loki", "/loki/api/v1/query_range", query=query, limit="100", **span))


def _victorialogs(trail: Trail) -> Request:
    return Request(url("victorialogs", "/select/logsql/query", query=f'trace_id:"{trail.trace}"', limit="100"))


def _loki_lines(_trail: Trail, answer: Response) -> str:
    streams = (data(answer) or {}).get("result", [])
    return _line_summary([stream["stream"].get("service_name") for stream in streams for _ in stream["values"]])


def _victoria_lines(_trail: Trail, answer: Response) -> str:
    lines = answer.body.splitlines() if answer.ok else []
    return _line_summary([json.loads(line).get("service.name") for line in lines])


def _line_summary(services: Sequence[str | None]) -> str:
    """The summary of log lines by service; empty while a participant has none."""
    names = {str(name) for name in services}
    return f"{len(services)} lines of {', '.join(sorted(names))}" if names >= PARTICIPANTS else ""
