"""Duration of `invoke --list`, compared with a tasks file that has one empty task."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.measure import measured
from tests.live.stack import CHECKOUT

ROUNDS = 15
EMPTY = """\
from invoke import task

@task
def nothing(c):
    '''Do nothing.'''
"""


def rows() -> Iterator[tuple[str, str]]:
    """Label and value of each line; the two alternate, and the ratio is taken per pair."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tasks.py").write_text(EMPTY)
        pairs = [(listing(CHECKOUT), listing(Path(folder))) for _ in range(ROUNDS)]
    yield "invoke --list", f"{median(ours for ours, _ in pairs) * 1000:.0f} ms"
    yield "invoke --list of one empty task", f"{median(empty for _, empty in pairs) * 1000:.0f} ms"
    yield "ratio", f"{median(ours / empty for ours, empty in pairs):.2f} x"


def listing(folder: Path) -> float:
    """Seconds that `invoke --list` takes in a folder."""
    with measured() as span:
        subprocess.run([sys.executable, "-m", "invoke", "--list"], cwd=folder, check=True, capture_output=True)
    return span.wall
