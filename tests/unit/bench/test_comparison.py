"""Two runs: what became worse or better by more than its spread, and what cannot be compared."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench import results
from bench.comparison import Change, compare, main
from bench.figure import Better
from tests.unit.bench.conftest import OTHER_MACHINE, MakeRecord, figure
from toolkit.core.errors import ToolkitError


@pytest.mark.parametrize(
    ("old", "new", "better", "verdict"),
    [
        ([10, 11, 12], [13, 14, 15], "less", "worse"),
        ([10, 11, 12], [13, 14, 15], "more", "better"),
        ([13, 14, 15], [10, 11, 12], "less", "better"),
        ([13, 14, 15], [10, 11, 12], "more", "worse"),
        ([10, 11, 12], [13, 14, 15], "neither", "different"),
        ([10, 11, 13], [13, 14, 15], "less", ""),  # the ranges overlap
        ([10, 11, 30], [13, 14, 15], "less", ""),
        ([100, 101, 102], [103, 104, 105], "less", ""),  # 3 %
        ([0, 0, 0], [0, 0, 0], "less", ""),
        ([0, 0, 0], [1, 1, 1], "less", "worse"),
        ([-3, -2, -1], [1, 2, 3], "less", "worse"),
        # One outlier among many samples does not widen the interval.
        ([*range(100, 115), 900], range(200, 216), "less", "worse"),
    ],
)
def test_a_change_larger_than_the_spread_has_a_verdict(
    old: list[float], new: list[float], better: Better, verdict: str
) -> None:
    assert Change("a/time", figure(old, better), figure(new, better)).verdict == verdict


def test_figures_of_one_run_are_named(record: MakeRecord) -> None:
    both, old, new = figure([1, 2, 3]), figure([1, 2, 3], key="old"), figure([1, 2, 3], key="new")
    found = compare(
        {"a": record(both, old), "gone": record(both)}, {"a": record(both, new), "added": record(both)}
    )  # fmt: skip
    assert [each.name for each in found.changes] == ["a/time"]
    assert found.excluded == [
        ("a/old", "only in the old run"), ("a/new", "only in the new run"),
        ("gone", "only in the old run"), ("added", "only in the new run"),
    ]  # fmt: skip


def test_figures_without_spread_or_with_another_unit_are_not_compared(record: MakeRecord) -> None:
    old = record(figure([1], key="once"), figure([1, 2, 3]))
    new = record(figure([1, 2, 3], key="once"), figure([1, 2, 3], unit="ms"))
    found = compare({"a": old}, {"a": new})
    assert found.changes == []
    assert found.excluded == [("a/once", "fewer than 3 samples"), ("a/time", "different units: s, ms")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"machine": OTHER_MACHINE}, "different machines: .*2 cores.*; .*4 cores"),
     ({"images": "pulled"}, "different image sets: local; pulled")],
)  # fmt: skip
def test_other_machines_and_images_cannot_be_compared(
    record: MakeRecord, change: dict[str, object], reason: str
) -> None:
    old, new = record(figure([1, 2, 3])), record(figure([1, 2, 3]), **change)
    with pytest.raises(ToolkitError, match=f"the runs of a cannot be compared: {reason}") as refused:
        compare({"a": old}, {"a": new})
    assert refused.value.code == 2


def test_runs_without_a_common_benchmark_cannot_be_compared(record: MakeRecord) -> None:
    with pytest.raises(ToolkitError, match="no benchmark in common"):
        compare({"a": record()}, {"b": record()})


@pytest.mark.parametrize("sources", [[], ["a", "b", "c"]])
def test_a_wrong_number_of_results_is_wrong_usage(sources: list[str]) -> None:
    with pytest.raises(ToolkitError, match="compare takes one or two results") as refused:
        main(sources)
    assert refused.value.code == 2


@pytest.mark.parametrize(
    ("new", "code", "printed"),
    [([13, 14, 15], 1, r"a/time .*11\.0 s \(10\.0 to 12\.0\).*14\.0 s \(13\.0 to 15\.0\).*\+27 %.*worse"),
     ([7, 8, 9], 0, r"-27 %.*better"), ([10, 11, 12], 0, "1 figures? compared, none changed by more than its spread")],
)  # fmt: skip
def test_the_exit_code_reports_a_worse_figure(
    record: MakeRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    new: list[float], code: int, printed: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("COLUMNS", "200")
    for name, samples in (("old", [10.0, 11, 12]), ("new", new)):
        results.save(tmp_path / name, {"a": record(figure(samples))})
    assert main([str(tmp_path / "old"), str(tmp_path / "new")]) == code
    assert re.search(printed, capsys.readouterr().out)
