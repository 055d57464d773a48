"""One request, followed from its metric to its trace to its log lines."""

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
"""What the request has probed: inside the stack, so that it needs no internet."""

ROUTE = 'http_request_duration_seconds_bucket{job="app", method="POST", route="/api/probes"}'
PARTICIPANTS = frozenset({"app", "worker"})
SPANS_OF = frozenset(f"netmon-{name}" for name in PARTICIPANTS)
SECONDS = 30.0
"""For the slowest of the three: a scrape, the collector's batches, the stores."""
PAUSE = 1.0
OWN = 6.0
"""Seconds, two scrapes, in which the exemplar of our own request is waited for. A bucket keeps the newest one only, and
where others ask as well that is one of theirs: then it is theirs that is followed, since the way is the same."""


@dataclass
class Trail:
    """What was found of one request."""

    trace: str
    began: float
    seen: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Signal:
    """A kind of signal: the service that stores it, what to ask it, and what an answer says of the request."""

    name: str
    store: str
    ask: Callable[[Trail], Request]
    found: Callable[[Trail, Response], str]


def check(stack: Stack) -> Iterator[Finding]:
    """The exemplar, the trace and the log lines of one request are found by its trace id."""
    wanted = list(signals(stack))
    missing = {"logs", "traces", "metrics"} - {signal.name for signal in wanted}
    for name in sorted(missing):
        yield Finding.skipped(CHECK, name, "nothing that stores them runs here")
    if why := next(filter(None, map(stack.why_not, ("app", "worker", "otel-collector"))), ""):
        yield Finding.skipped(CHECK, "app and worker", why)
        return
    try:
        trail = send(stack)
    except CheckError as error:
        yield Finding.of(CHECK, "POST /api/probes", str(error))
        return
    try:
        follow(stack, trail, wanted, SECONDS)
    except CheckError as error:
        for signal in wanted:
            problem = "" if signal.name in trail.seen else f"{error} (trace {trail.trace})"
            yield Finding.of(CHECK, signal.name, problem, trail.seen.get(signal.name, ""))
        return
    for signal in wanted:
        yield Finding.of(CHECK, signal.name, "", trail.seen[signal.name])


def signals(stack: Stack) -> Iterator[Signal]:
    """The signals that can be found here, each where it is stored."""
    logs = (Signal("logs", "loki", _loki, _loki_lines), Signal("logs", "victorialogs", _victorialogs, _victoria_lines))
    traces = (Signal("traces", "tempo", _tempo, _spans), Signal("traces", "jaeger", _jaeger, _spans))
    for stores in ((Signal("metrics", "prometheus", _exemplars, _exemplar),), traces, logs):
        yield from [signal for signal in stores if signal.store in stack.running][:1]


def send(stack: Stack) -> Trail:
    """Ask for a probe under a trace id of our own.

    Raises:
        CheckError: the application does not accept it.
    """
    trail = Trail(secrets.token_hex(16), time.time())
    traced = {"traceparent": f"00-{trail.trace}-{secrets.token_hex(8)}-01"}
    headers = credentials.authorization(stack.project) | traced
    [answer] = stack.fetch([Request.post(url("app", "/api/probes"), {"url": TARGET}, headers=headers)])
    if answer.problem:
        raise CheckError(f"the application does not accept a probe: {answer.problem}")
    return trail


def follow(stack: Stack, trail: Trail, wanted: Sequence[Signal], seconds: float, stop: threading.Event = NEVER) -> None:
    """Wait until all the signals are found; what was found is in ``trail`` meanwhile.

    Raises:
        CheckError: some were not found in time.
    """
    followed = time.monotonic()

    def look() -> bool:
        nonlocal followed
        if any(signal.name == "metrics" for signal in wanted) and time.monotonic() - followed > OWN:
            followed = time.monotonic()
            [answer] = stack.fetch([_exemplars(trail)])
            take_over(trail, answer)
        left = [signal for signal in wanted if signal.name not in trail.seen]
        answers = stack.fetch([signal.ask(trail) for signal in left])
        for signal, answer in zip(left, answers, strict=True):
            if seen := signal.found(trail, answer):
                trail.seen[signal.name] = seen
        return len(trail.seen) == len(wanted)

    until("its signals", look, seconds, PAUSE, stop)


def take_over(trail: Trail, answer: Response) -> None:
    """Follow the request of the newest exemplar from now on, unless there is none or it is the one that is followed."""
    found = [exemplar for series in data(answer) or () for exemplar in series["exemplars"]]
    newest = max(found, key=lambda exemplar: float(exemplar["timestamp"]), default=None)
    if newest and newest["labels"].get("trace_id", trail.trace) != trail.trace:
        trail.trace = newest["labels"]["trace_id"]
        trail.seen.clear()


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
    """The services whose spans are in a trace, as Jaeger (serviceName) or OTLP (an attribute) has them."""
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
    return _told([stream["stream"].get("service_name") for stream in streams for _ in stream["values"]])


def _victoria_lines(_trail: Trail, answer: Response) -> str:
    lines = answer.body.splitlines() if answer.ok else []
    return _told([json.loads(line).get("service.name") for line in lines])


def _told(services: Sequence[str | None]) -> str:
    """What to say of log lines by the service of each; nothing while a participant has none."""
    names = {str(name) for name in services}
    return f"{len(services)} lines of {', '.join(sorted(names))}" if names >= PARTICIPANTS else ""
