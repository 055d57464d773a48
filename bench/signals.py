"""Log latency: from a line on a container's standard output until a query returns it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench import line_to_query
from tests.live.stack import Stack

LINES = 40


def rows(stack: Stack) -> Iterator[tuple[str, str]]:
    """Label and value of each line."""
    stack.invoke("up", "--no-smoke", timeout=900)
    store = "loki" if "loki" in stack.services() else "victorialogs"
    yield f"stdout → returned by {store}, idle, {LINES} lines", summary(measure(stack, store))
    with stack.start("demo", "--seconds=120") as demo:
        yield f"stdout → returned by {store}, under demo, {LINES} lines", summary(measure(stack, store))
        demo.terminate()


def measure(stack: Stack, store: str) -> list[float]:
    """The latency of each line in seconds."""
    program = Path(line_to_query.__file__).read_text(encoding="utf-8")
    worker = stack.container("worker")["Id"]
    latencies: list[float] = json.loads(stack.docker("exec", worker, "python", "-c", program, store, str(LINES)))
    return latencies


def summary(seconds: list[float]) -> str:
    """Median and maximum."""
    return f"median {median(seconds):.2f} s, max {max(seconds):.2f} s"
