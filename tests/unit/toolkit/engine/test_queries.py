"""Queries in the background: each runs once, and a failed one again."""

from __future__ import annotations

import threading

import pytest

from toolkit.engine.queries import Queries


def test_a_query_runs_once_and_in_the_background() -> None:
    queries: Queries[int] = Queries(bool)
    release, calls = threading.Event(), list[str]()

    def answer() -> int:
        calls.append(threading.current_thread().name)
        assert release.wait(30)
        return 42

    queries.start("a", answer)
    release.set()
    assert [queries.result("a", answer), queries.result("a", answer)] == [42, 42]
    [thread] = calls
    assert thread.startswith("query")


def test_a_failed_query_runs_again() -> None:
    queries: Queries[int] = Queries(bool)
    answers = [0, 1]
    assert [queries.result("a", lambda: answers.pop(0)) for _ in range(3)] == [0, 1, 1]

    def fail() -> int:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        queries.result("b", fail)
    assert queries.result("b", lambda: 2) == 2


def test_forgotten_queries_run_again() -> None:
    queries: Queries[int] = Queries(bool)
    assert queries.result("a", lambda: 1) == 1
    queries.clear()
    assert queries.result("a", lambda: 2) == 2
