"""Duration of the tasks that only look: `invoke --list`, `status` and `doctor`, on a running stack."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.figure import Figure
from bench.measure import measured
from bench.pairs import ratio
from tests.live.stack import Stack

ROUNDS = 15
SETTLING_SECONDS = 10
"""After the start, until the services are idle."""
EMPTY = """\
from invoke import task

@task
def nothing(c):
    '''Do nothing.'''
"""


def figures(stack: Stack) -> Iterator[Figure]:
    """The three tasks. `invoke --list` alternates with a tasks file that has one empty task."""
    stack.invoke("up", "--no-smoke", timeout=900)
    time.sleep(SETTLING_SECONDS)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tasks.py").write_text(EMPTY)
        pairs = [(duration(stack.root, "--list"), duration(Path(folder), "--list")) for _ in range(ROUNDS)]
    yield Figure("list", "`invoke --list`", "ms", [ours * 1000 for ours, _ in pairs])
    yield Figure("empty", "`invoke --list` of one empty task", "ms", [empty * 1000 for _, empty in pairs], "neither")
    yield ratio("ratio", "`invoke --list` ÷ that of one empty task", pairs, float)
    for task in ("status", "doctor"):
        seconds = [duration(stack.root, task, stack.environment) for _ in range(ROUNDS)]
        yield Figure(task, f"`invoke {task}`", "ms", [each * 1000 for each in seconds])


def duration(folder: Path, task: str, environment: Mapping[str, str] | None = None) -> float:
    """Seconds that a task takes in a folder."""
    with measured() as span:
        argv = [sys.executable, "-m", "invoke", task]
        subprocess.run(argv, cwd=folder, env=environment, check=True, capture_output=True)
    return span.wall
