"""HTTP requests from inside the stack, independent of the profile and of the published ports.

An interpreter in the container of `worker` sends them: it is on every network on which a service listens, and always
runs the project's own image. Where another application replaces the worker, `container-exporter` sends them: it has the
same image and reaches the monitoring services.
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
from toolkit.engine.timeouts import TimedOutError

SENDERS = ("worker", "container-exporter")
"""The services whose container sends the requests; the second one if the first has no replica."""
TIMEOUT = 5.0
"""The default timeout of a request, in seconds."""
START_SECONDS = 15.0
"""The time that the interpreter may need to start on a busy host."""


@dataclass(frozen=True)
class Request:
    """A request to a service by its name in the stack; ``timeout`` is in seconds."""

    url: str
    method: str = "GET"
    body: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = TIMEOUT

    @classmethod
    def post(
        cls, url: str, document: Any = None, *, headers: Mapping[str, str] | None = None, timeout: float = TIMEOUT
    ) -> Request:
        """A POST request with a JSON document, or with an empty body."""
        content_type = {} if document is None else {"Content-Type": "application/json"}
        body = "" if document is None else json.dumps(document)
        return cls(url, "POST", body, {**content_type, **(headers or {})}, timeout)


@dataclass(frozen=True)
class Response:
    """A response, with header names in lower case; without one, the status is 0 and ``error`` has the reason."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: str
    error: str

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def problem(self) -> str:
        """The error, on one line; empty on success."""
        return "" if self.ok else self.error or f"status {self.status}: {' '.join(self.body.split())[:200]}"

    def json(self) -> Any:
        """The JSON document in the body; None if the body is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


def fetch(docker: Docker, requests: Sequence[Request], sender: str | None = None) -> list[Response]:
    """Send requests in parallel and return the responses in the same order.

    Args:
        docker: Docker in the project's folder.
        requests: The requests.
        sender: The id of the container that sends them; default: a container of one of the `SENDERS`.

    Raises:
        ToolkitError: none of the `SENDERS` runs.
    """
    if not requests:
        return []
    batches = -(-len(requests) // http_agent.AT_ONCE)
    payload = json.dumps([asdict(request) for request in requests])
    program = f"{Path(http_agent.__file__).read_text(encoding='utf-8')}\nmain(json.loads({payload!r}))\n"
    timeout = START_SECONDS + batches * max(request.timeout for request in requests)
    failures = []
    for service in SENDERS[:1] if sender else SENDERS:
        try:
            if sender:
                result = docker("exec", "--interactive", sender, "python", "-", stdin=program, timeout=timeout)
            else:
                result = docker.exec(service, "python", "-", stdin=program, timeout=timeout)
        except TimedOutError as error:
            why = f"the container or the Docker Engine does not answer: {error.what}"
            raise ToolkitError(
                "cannot send requests from inside the stack", why, "invoke status shows which"
            ) from error
        try:
            responses = json.loads(result.stdout)
            break
        except ValueError:
            failures.append(explain(f"send requests from inside the stack (in {sender or service})", result))
    else:
        first = failures[0]
        fix = f"invoke status shows the state of {SENDERS[0]}; invoke up starts it"
        raise ToolkitError(first.what, first.why, first.fix or fix)
    return [Response(request.url, **each) for request, each in zip(requests, responses, strict=True)]


def get(docker: Docker, *urls: str) -> list[Response]:
    """`fetch` with a GET request for each URL."""
    return fetch(docker, [Request(url) for url in urls])
