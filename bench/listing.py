"""Duration of `invoke --list`, compared with a tasks file that has one empty task."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.figure import Figure
from bench.measure import measured
from bench.pairs import ratio
from tests.live.stack import CHECKOUT

ROUNDS = 15
EMPTY = """\
from invoke import task

@task
def nothing(c):
    '''Do nothing.'''
"""


def figures() -> Iterator[Figure]:
    """The two alternate, and the ratio is taken per pair."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tasks.py").write_text(EMPTY)
        pairs = [(listing(CHECKOUT), listing(Path(folder))) for _ in range(ROUNDS)]
    yield Figure("list", "`invoke --list`", "ms", [ours * 1000 for ours, _ in pairs])
    yield Figure("empty", "`invoke --list` of one empty task", "ms", [empty * 1000 for _, empty in pairs], "neither")
    yield ratio("ratio", "`invoke --list` ÷ that of one empty task", pairs, float)


def listing(folder: Path) -> float:
    """Seconds that `invoke --list` takes in a folder."""
    with measured() as span:
        subprocess.run([sys.executable, "-m", "invoke", "--list"], cwd=folder, check=True, capture_output=True)
    return span.wall
