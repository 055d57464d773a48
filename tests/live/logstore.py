"""Queries of a stack's log store, Loki or VictoriaLogs, and containers that write log lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from tests.live.stack import Stack

GET = "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=20).read().decode())"


def get(stack: Stack, url: str) -> str:
    """The body of a response to a request from inside the stack."""
    return stack.exec("worker", "python", "-c", GET, url)


def lines(stack: Stack, service: str, limit: int = 20_000) -> list[str]:
    """The texts of a service's log lines of the last hour, in any order, with duplicates."""
    if stack.store("logs") == "victorialogs":
        query = urlencode({"query": f'_time:1h service.name:="{service}"', "limit": limit})
        answer = get(stack, f"http://victorialogs:9428/select/logsql/query?{query}")
        return [json.loads(line).get("_msg", "") for line in answer.splitlines()]
    texts: list[str] = []
    end = ""
    while True:  # Loki limits the lines of a response
        query = urlencode({"query": f'{{service_name="{service}"}}', "since": "1h", "limit": 5000} | end_of(end))
        streams: list[dict[str, Any]] = json.loads(get(stack, f"http://loki:3100/loki/api/v1/query_range?{query}"))[
            "data"
        ]["result"]
        page = [value for stream in streams for value in stream["values"]]
        if not page:
            return texts
        texts += [text for _, text, *_ in page]
        end = min(time for time, *_ in page)


def end_of(time: str) -> dict[str, str]:
    """The parameter of a Loki query for older lines."""
    return {"end": time} if time else {}


@contextmanager
def writer(stack: Stack, program: str, *options: str) -> Iterator[str]:
    """Run a Python program in a container of the project; yields the service name of its log lines."""
    service = f"writer-{uuid4().hex[:8]}"
    image = stack.container("worker")["Config"]["Image"]
    labels = ("com.docker.compose.project", stack.name), ("com.docker.compose.service", service)
    stack.docker(
        "run", "--detach", "--name", f"{stack.name}-{service}",
        *(word for key, value in labels for word in ("--label", f"{key}={value}")),
        "--log-driver", "json-file", "--log-opt", f"labels={','.join(key for key, _ in labels)}", *options,
        "--entrypoint", "python", image, "-u", "-c", program,
    )  # fmt: skip
    try:
        yield service
    finally:
        stack.docker("rm", "--force", f"{stack.name}-{service}")
