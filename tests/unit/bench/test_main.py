"""A run of benchmarks: stores what is complete, names what failed, and replaces nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench import __main__ as runner
from bench import documents, results
from bench.figure import Figure, NotMeasuredError
from bench.origin import Machine
from bench.results import RESULTS
from tests.unit.bench.conftest import MACHINE, OTHER_MACHINE, MakeRecord, figure


def benchmark(*samples: float) -> runner.Benchmark:
    return lambda: ([figure(samples)], "local")


def failing(error: BaseException) -> runner.Benchmark:
    def run() -> tuple[list[Figure], str]:
        raise error

    return run


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, list[float]]]:
    """Three benchmarks and a checkout of their own; a function that returns the stored samples by benchmark."""
    (tmp_path / RESULTS).parent.mkdir()
    monkeypatch.setattr(runner, "CHECKOUT", tmp_path)
    monkeypatch.setattr(runner, "BENCHMARKS", {"a": benchmark(1), "b": benchmark(2), "c": benchmark(3)})
    monkeypatch.setattr(Machine, "this", lambda: MACHINE)
    monkeypatch.setattr(documents, "make", lambda: None)
    monkeypatch.setenv("COLUMNS", "200")

    def read() -> dict[str, list[float]]:
        found = results.load(str(tmp_path / RESULTS))
        return {name: [*record.figures[0].samples] for name, record in found.items() if record.figures}

    return read


@pytest.mark.parametrize("names", [[], ["all"]])
def test_all_benchmarks_are_stored_and_printed(
    stored: Callable[[], dict[str, list[float]]], capsys: pytest.CaptureFixture[str], names: list[str]
) -> None:
    assert runner.main(names) == 0
    assert stored() == {"a": [1], "b": [2], "c": [3]}
    assert capsys.readouterr().out.count("the time") == 3


def test_a_run_of_some_keeps_the_results_of_the_others(
    stored: Callable[[], dict[str, list[float]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runner.main([]) == 0
    monkeypatch.setitem(runner.BENCHMARKS, "b", benchmark(7))
    assert runner.main(["b"]) == 0
    assert stored() == {"a": [1], "b": [7], "c": [3]}


def test_a_failed_benchmark_is_named_and_loses_no_results(
    stored: Callable[[], dict[str, list[float]]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runner.main([]) == 0
    monkeypatch.setattr(runner, "BENCHMARKS", {"a": failing(AssertionError("no")), "b": benchmark(8)})
    assert runner.main([]) == 1
    assert stored() == {"a": [1], "b": [8], "c": [3]}
    assert capsys.readouterr().err.endswith("failed: a\n")


def test_an_interrupted_run_keeps_the_complete_results(
    stored: Callable[[], dict[str, list[float]]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(runner.BENCHMARKS, "b", failing(KeyboardInterrupt()))
    assert runner.main([]) == 1
    assert stored() == {"a": [1]}
    assert capsys.readouterr().err.endswith("interrupted; complete: a\n")


def test_a_benchmark_that_cannot_run_here_has_a_reason(
    stored: Callable[[], dict[str, list[float]]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(runner.BENCHMARKS, "a", failing(NotMeasuredError("no Grafana")))
    assert runner.main(["a"]) == 0
    assert "not measured: no Grafana" in capsys.readouterr().out


def test_an_unknown_benchmark_is_wrong_usage(
    stored: Callable[[], dict[str, list[float]]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert runner.main(["a", "d"]) == 2
    assert "unknown benchmark 'd': known: a, b, c" in capsys.readouterr().err


def test_results_of_another_machine_are_kept_until_a_complete_run(
    stored: Callable[[], dict[str, list[float]]], tmp_path: Path, record: MakeRecord
) -> None:
    results.save(tmp_path / RESULTS, {"a": record(figure([5]), machine=OTHER_MACHINE)})
    assert runner.main(["b"]) == 0
    assert stored() == {"a": [5], "b": [2]}
    assert results.load(str(tmp_path / RESULTS))["a"].machine == OTHER_MACHINE
    assert runner.main([]) == 0
    assert stored() == {"a": [1], "b": [2], "c": [3]}


def test_documents_follow_the_stored_results_only(
    stored: Callable[[], dict[str, list[float]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[None] = []
    monkeypatch.setattr(documents, "make", lambda: made.append(None))
    assert runner.main(["a", "--output=other.json"]) == 0
    assert made == []
    assert runner.main(["a", "b"]) == 0
    assert len(made) == 2


def test_compare_is_not_a_benchmark(
    stored: Callable[[], dict[str, list[float]]], tmp_path: Path, record: MakeRecord,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name, samples in (("old", [1.0, 1, 1]), ("new", [2.0, 2, 2])):
        results.save(tmp_path / name, {"a": record(figure(samples))})
    assert runner.main(["compare", str(tmp_path / "old"), str(tmp_path / "new")]) == 1
    assert "worse" in capsys.readouterr().out
    assert runner.main(["compare"]) == 2
