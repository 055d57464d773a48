"""Log latency: from a line on a container's standard output until a query returns it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from bench import line_to_query
from bench.figure import Figure
from tests.live.stack import Stack

LINES = 40


def figures(stack: Stack) -> Iterator[Figure]:
    """The latency of each line, idle and under the demo load."""
    stack.invoke("up", "--no-smoke", timeout=900)
    store = stack.store("logs")
    yield Figure("idle", f"line on stdout → returned by a query of {store}, idle", "s", measure(stack, store))
    with stack.start("demo", "--seconds=120") as demo:
        yield Figure("demo", f"line on stdout → returned by a query of {store}, under demo", "s", measure(stack, store))
        demo.terminate()


def measure(stack: Stack, store: str) -> list[float]:
    """The latency of each line in seconds."""
    program = Path(line_to_query.__file__).read_text(encoding="utf-8")
    worker = stack.container("worker")["Id"]
    latencies: list[float] = json.loads(stack.docker("exec", worker, "python", "-c", program, store, str(LINES)))
    return latencies
