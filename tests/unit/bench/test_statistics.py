"""The benchmark of the statistics refuses measurements that the cache or the database does not confirm."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from bench import statistics
from netmon import database, history_store, settings
from tests.live import pipeline

TARGETS = [str(UUID(int=number)) for number in (1, 2)]
PATHS = [f"/api/targets/{target}/statistics" for target in TARGETS]
EXPECTED_SCANS = statistics.SCANS * len(PATHS)
"""Table scans of one pass without the cache."""


class Stack:
    """A stack whose containers do nothing."""

    environment = os.environ

    def url(self) -> str:
        return "http://app"

    def container(self, service: str) -> dict[str, str]:
        return {"Id": service}

    def docker(self, *_arguments: str, **_options: float) -> str:
        return ""


def stub_measurements(monkeypatch: pytest.MonkeyPatch, caches: Iterator[str], scanned: int) -> None:
    """Responses report these cache states in turn, and the database reports so many table scans."""

    class Connection:
        def __init__(self, host: str, port: int) -> None: ...

        async def get(self, _path: str) -> str:
            return f"http/1.1 200 ok\r\nx-cache: {next(caches)}\r\n\r\n"

        async def close(self) -> None: ...

    @contextmanager
    def cache_invalidation(_stack: Stack, _targets: list[str]) -> Iterator[Callable[[], None]]:
        yield lambda: None

    totals = iter([1000, 1000 + scanned])
    monkeypatch.setattr(statistics, "ROUNDS", 1)
    monkeypatch.setattr(statistics, "PASSES", 1)
    monkeypatch.setattr(statistics, "Connection", Connection)
    monkeypatch.setattr(statistics, "cache_invalidation", cache_invalidation)
    monkeypatch.setattr(statistics, "scans", lambda _stack: next(totals))


def over_http() -> Any:
    return statistics.over_http(Stack(), TARGETS, PATHS)  # type: ignore[arg-type]


def test_latencies_confirmed_by_cache_and_database_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    stub_measurements(monkeypatch, iter(["miss", "miss", "hit", "hit"]), EXPECTED_SCANS)
    [(uncached, cached)] = over_http()
    assert len(uncached.latencies) == len(cached.latencies) == len(PATHS)


@pytest.mark.parametrize(
    ("caches", "refusal"), [(["miss", "hit"], "not a miss"), (["miss", "miss", "hit", "miss"], "not a hit")]
)
def test_a_response_with_the_wrong_cache_state_is_refused(
    monkeypatch: pytest.MonkeyPatch, caches: list[str], refusal: str
) -> None:
    stub_measurements(monkeypatch, iter(caches), EXPECTED_SCANS)
    with pytest.raises(ValueError, match=f"{PATHS[1]}: {refusal}"):
        over_http()


@pytest.mark.parametrize("scanned", [0, EXPECTED_SCANS - 1, EXPECTED_SCANS + 1, 2 * EXPECTED_SCANS])
def test_a_scan_count_that_differs_from_the_misses_is_refused(monkeypatch: pytest.MonkeyPatch, scanned: int) -> None:
    stub_measurements(monkeypatch, iter(["miss", "miss", "hit", "hit"]), scanned)
    with pytest.raises(ValueError, match=f"^{scanned} scans of tables for 2 misses: expected {EXPECTED_SCANS}$"):
        over_http()


@pytest.mark.parametrize("short", ["", "results", "counted", "in_histograms"])
def test_a_partly_filled_database_is_refused(monkeypatch: pytest.MonkeyPatch, short: str) -> None:
    stored = dict.fromkeys(("results", "counted", "in_histograms"), statistics.RESULTS)
    if short:
        stored[short] -= 1
    executed: list[str] = []
    monkeypatch.setattr(pipeline, "sql", lambda _stack, _query: [stored])
    monkeypatch.setattr(pipeline, "execute", lambda _stack, statement: executed.append(statement))
    if short:
        with pytest.raises(ValueError, match="not 1000000 results in every table"):
            statistics.fill(Stack())  # type: ignore[arg-type]
    else:
        statistics.fill(Stack())  # type: ignore[arg-type]
    assert bool(executed) is not bool(short)


@pytest.mark.parametrize(
    ("script", "succeeds"), [("while read -r _; do echo deleted; done", True), ("read -r _", False)]
)
def test_a_cache_that_is_not_invalidated_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, succeeds: bool
) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\n{script}\n")
    docker.chmod(0o755)
    stack = Stack()
    stack.environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}  # type: ignore[assignment]
    with statistics.cache_invalidation(stack, TARGETS) as invalidate:  # type: ignore[arg-type]
        if succeeds:
            invalidate()
            invalidate()
        else:
            with pytest.raises(ValueError, match="the cache cannot be invalidated"):
                invalidate()


ROLLED = {"results": 1440, "failed": 7, "p50_ms": 50.0, "p95_ms": 80.0, "p99_ms": 99.0}


@pytest.mark.parametrize(
    "other", [{}, {"p99_ms": 104.0}, {"results": 1439}, {"failed": 8}, {"p50_ms": 54.0}, {"p99_ms": 110.0}], ids=str
)
def test_rollups_that_disagree_with_raw_results_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], other: dict[str, float]
) -> None:
    """The program that runs in the container: counts must be equal, percentiles within six percent."""

    class Database:
        def __init__(self, url: str, name: str) -> None: ...

        async def prepare(self) -> None: ...

        async def one(self, _query: str, _window: object) -> dict[str, Any]:
            return {"results": 1440, "failed": 7, "percentiles": [50.0, 80.0, 99.0]}

    class HistoryStore:
        def __init__(self, _database: Database) -> None: ...

        async def statistics(self, _target: UUID, _window: str) -> SimpleNamespace:
            return SimpleNamespace(**ROLLED | other)

    monkeypatch.setattr(database, "Database", Database)
    monkeypatch.setattr(history_store, "HistoryStore", HistoryStore)
    monkeypatch.setattr(settings, "load", lambda _environ: SimpleNamespace(database_url=""))
    monkeypatch.setattr(sys, "argv", ["-c", "1", *TARGETS])
    if other and other != {"p99_ms": 104.0}:
        with pytest.raises(SystemExit, match=r"from rollups: .*, from results: "):
            exec(statistics.QUERIES, {})  # noqa: S102 - as in the container
    else:
        exec(statistics.QUERIES, {})  # noqa: S102 - as in the container
        assert capsys.readouterr().out.count("[") == 1 + len(TARGETS)
