"""Results as JSON: complete, one line for the samples of a figure, and a clear error for anything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import results
from bench.results import RESULTS
from tests.unit.bench.conftest import MakeRecord, figure, git
from toolkit.core.errors import ToolkitError


def test_results_survive_a_round_trip(record: MakeRecord, tmp_path: Path) -> None:
    stored = {"a": record(figure([1, 2.5, 3])), "b": record(reason="no engine [here]")}
    results.save(tmp_path / "results.json", stored)
    assert results.text(results.load(str(tmp_path / "results.json"))) == results.text(stored)
    assert results.load(str(tmp_path / "results.json"))["a"].figure("time").samples == [1, 2.5, 3]


def test_samples_are_on_one_line_with_six_digits(record: MakeRecord) -> None:
    assert '"samples": [0.123457, 20.0, 3000.0],\n' in results.text({"a": record(figure([0.123456789, 20, 3000]))})


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "Expecting value"), ("[]", "list"), ('{"a": {}}', "machine"), ('{"a": 1}', "mapping|subscriptable"),
     ('{"a": {"machine": {"size": 1}}}', "size")],
)  # fmt: skip
def test_a_file_in_another_format_is_an_error(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(ToolkitError, match=f"(?s)other.json has no results of benchmarks.*{reason}") as refused:
        results.load(str(tmp_path / "other.json"))
    assert refused.value.code == 2


def test_a_figure_without_samples_is_an_error(record: MakeRecord, tmp_path: Path) -> None:
    (tmp_path / "short.json").write_text(results.text({"a": record(figure([7]))}).replace("[7.0]", "[]"))
    with pytest.raises(ToolkitError, match="the figure time has no samples"):
        results.load(str(tmp_path / "short.json"))


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: MakeRecord) -> Path:
    """A repository with committed results, and the file `code`."""
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    (tmp_path / RESULTS).parent.mkdir()
    results.save(tmp_path / RESULTS, {"a": record(figure([1, 2, 3]))})
    (tmp_path / "code").touch()
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message=results")
    monkeypatch.setattr(results, "CHECKOUT", tmp_path)
    return tmp_path


def test_results_of_a_revision_are_those_committed(repository: Path, record: MakeRecord) -> None:
    results.save(repository / RESULTS, {"a": record(figure([9]))})
    assert results.load("main")["a"].figure("time").samples == [1, 2, 3]


def test_a_source_that_is_neither_a_file_nor_a_revision_is_an_error(repository: Path) -> None:
    with pytest.raises(ToolkitError, match="no results in 'nowhere': neither a file nor a Git revision") as refused:
        results.load("nowhere")
    assert refused.value.code == 2
