"""Queries of a stack's log store, Loki or VictoriaLogs, and containers that write log lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from tests.live.stack import Stack

GET = "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=20).read().decode())"


def get(stack: Stack, url: str) -> str:
    """The body of a response to a request from inside the stack."""
    return stack.exec("worker", "python", "-c", GET, url)


def lines(stack: Stack, service: str, limit: int = 20_000, *, since: str = "1h") -> list[str]:
    """The texts of a service's log lines of the last hour, or as long as ``since``, in any order, with duplicates."""
    if stack.store("logs") == "victorialogs":
        query = urlencode({"query": f'_time:{since} service.name:="{service}"', "limit": limit})
        answer = get(stack, f"http://victorialogs:9428/select/logsql/query?{query}")
        return [json.loads(line).get("_msg", "") for line in answer.splitlines()]
    texts: list[str] = []
    end = ""
    while True:  # Loki limits the lines of a response
        query = urlencode({"query": f'{{service_name="{service}"}}', "since": since, "limit": 5000} | end_of(end))
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


PROJECT, SERVICE = "com.docker.compose.project", "com.docker.compose.service"
"""The labels of a container that are in each of its log lines."""


@contextmanager
def replicas(stack: Stack, count: int) -> Iterator[tuple[str, list[str]]]:
    """Containers of one service that never run: their log files are written by `write_file`.

    Yields the name of the service and the ids of the containers.
    """
    service = f"writer-{uuid4().hex[:8]}"
    image = stack.container("worker")["Config"]["Image"]
    created: list[str] = []
    try:
        created.extend(stack.docker("create", image).strip() for _ in range(count))
        yield service, created
    finally:
        stack.docker("rm", "--force", *created)


def write_file(
    stack: Stack, service: str, container: str, suffix: str, written: Iterable[tuple[datetime, str]]
) -> None:
    """Write a log file of a container as the engine does: times in UTC and texts; ``suffix`` of a rotated file."""
    attributes = {PROJECT: stack.name, SERVICE: service}
    records = [
        {"log": f"{text}\n", "stream": "stdout", "attrs": attributes, "time": f"{time:%Y-%m-%dT%H:%M:%S.%f}000Z"}
        for time, text in written
    ]
    folder = Path(stack.docker("info", "--format", "{{.DockerRootDir}}").strip(), "containers", container)
    # Under another name first: the collector reads a file as soon as it exists.
    complete = folder / "complete"
    complete.write_text("".join(json.dumps(each, separators=(",", ":")) + "\n" for each in records), encoding="utf-8")
    complete.rename(folder / f"{container}-json.log{suffix}")


@contextmanager
def writer(stack: Stack, program: str, *options: str) -> Iterator[str]:
    """Run a Python program in a container of the project; yields the service name of its log lines."""
    service = f"writer-{uuid4().hex[:8]}"
    image = stack.container("worker")["Config"]["Image"]
    labels = (PROJECT, stack.name), (SERVICE, service)
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
