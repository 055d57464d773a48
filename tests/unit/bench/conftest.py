"""Results of made-up benchmarks."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.figure import Better, Figure
from bench.origin import Machine
from bench.results import Record

MACHINE = Machine("a processor", 2, 24, "Debian", "6.18", "28.5", "2.40", "3.11")
OTHER_MACHINE = replace(MACHINE, cores=4)

MakeRecord = Callable[..., Record]


def figure(samples: Sequence[float], better: Better = "less", key: str = "time", unit: str = "s") -> Figure:
    return Figure(key, f"the {key}", unit, samples, better)


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def record() -> MakeRecord:
    """A function that returns a record of this machine with these figures."""

    def made(*figures: Figure, **changes: Any) -> Record:
        return replace(Record(MACHINE, "local", "abc123", "2026-01-31", 1.5, figures), **changes)

    return made
