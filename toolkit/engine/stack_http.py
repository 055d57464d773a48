"""HTTP requests from inside the stack: the same in every profile, whatever is published to the host.

They are sent by an interpreter in the container of `worker`, which is on every network that a service listens on, and
is always the project's own image; where another application has made the worker superfluous, in the container of
`container-exporter`, which has the same image and sees what belongs to monitoring.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from toolkit.core.errors import ToolkitError
from toolkit.engine import http_agent
from toolkit.engine.compose import Docker, explain

SENDERS = ("worker", "container-exporter")
"""Whose container sends the requests; the second one where the first has no replica."""
TIMEOUT = 5.0
"""Seconds for one answer, where a request does not say."""
START_SECONDS = 15.0
"""Seconds for the interpreter to start on a machine that is busy."""


@dataclass(frozen=True)
class Request:
    """A request to a service by its name in the stack; ``timeout`` in seconds."""

    url: str
    method: str = "GET"
    body: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = TIMEOUT

    @classmethod
    def post(
        cls, url: str, document: Any = None, *, headers: Mapping[str, str] | None = None, timeout: float = TIMEOUT
    ) -> Request:
        """A POST of a JSON document; without one, of nothing."""
        kind = {} if document is None else {"Content-Type": "application/json"}
        body = "" if document is None else json.dumps(document)
        return cls(url, "POST", body, {**kind, **(headers or {})}, timeout)


@dataclass(frozen=True)
class Response:
    """An answer; where none came the status is 0 and ``error`` says why. Header names are in lower case."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: str
    error: str

    @property
    def ok(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300

    @property
    def problem(self) -> str:
        """What is wrong with it, on one line; empty where nothing is."""
        return "" if self.ok else self.error or f"status {self.status}: {' '.join(self.body.split())[:200]}"

    def json(self) -> Any:
        """The body's document; None where the body is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


def fetch(docker: Docker, requests: Sequence[Request]) -> list[Response]:
    """Send requests side by side and return the answers in the same order.

    Raises:
        ToolkitError: nothing can be sent, because none of the carriers runs.
    """
    if not requests:
        return []
    batches = -(-len(requests) // http_agent.AT_ONCE)
    told = json.dumps([asdict(request) for request in requests])
    program = f"{Path(http_agent.__file__).read_text(encoding='utf-8')}\nmain(json.loads({told!r}))\n"
    timeout = START_SECONDS + batches * max(request.timeout for request in requests)
    failures = []
    for carrier in SENDERS:
        result = docker.compose("exec", "--no-TTY", carrier, "python", "-", stdin=program, timeout=timeout)
        try:
            answers = json.loads(result.stdout)
            break
        except ValueError:
            failures.append(explain(f"ask from inside the stack (docker compose exec {carrier})", result))
    else:
        first = failures[0]
        fix = f"invoke status shows the state of {SENDERS[0]}; invoke up starts it"
        raise ToolkitError(first.what, first.why, first.fix or fix)
    return [Response(request.url, **answer) for request, answer in zip(requests, answers, strict=True)]


def get(docker: Docker, *urls: str) -> list[Response]:
    """`fetch` of plain addresses."""
    return fetch(docker, [Request(url) for url in urls])
