"""The results of drills: collected in a run, merged with those of earlier runs, and published in the document."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.origin import CHECKOUT, Machine
from tests.live.drills import conftest, results
from tests.live.drills.results import DOCUMENT, FOLDER, RESULTS, Result
from toolkit.validate.documents import PART

pytest_plugins = ["pytester"]

MACHINE = Machine("a processor", 2, 24, "Debian", "6.18", "28.5", "2.40", "3.11")
PASSED = Result("passed", ["9 jobs,  none | lost"], 12.4, MACHINE, "abc123", "2026-01-31")
DRILLS = """
import pytest

def test_lossless(record):
    record("9 jobs")
    record("none lost")

@pytest.mark.parametrize("service", ["db"])
def test_broken(record, service):
    record("2 lost")
    assert not "lost"

def test_impossible():
    pytest.skip("another project uses the engine")

@pytest.fixture
def stack():
    raise ValueError

def test_without_stack(stack):
    pass
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with two drills of deliveries, and no results."""
    for name in (DOCUMENT, RESULTS):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / RESULTS).write_text("{}")
    (tmp_path / DOCUMENT).write_bytes((CHECKOUT / DOCUMENT).read_bytes())
    (tmp_path / FOLDER / "test_delivery.py").write_text("def test_a(): ...\ndef test_b(): ...\n")
    return tmp_path


def test_outcomes_and_measurements_are_collected(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    stored: dict[str, Result] = {}
    monkeypatch.setattr(results, "store", stored.update)
    monkeypatch.setattr(conftest, "DRILLS", {})
    monkeypatch.setattr(conftest, "ORIGIN", [])
    pytester.mkdir("drills").joinpath("test_delivery.py").write_text(DRILLS)
    run = pytester.runpytest_inprocess("-p", "tests.live.drills.conftest", "-p", "no:cacheprovider", "--store")
    run.assert_outcomes(passed=1, failed=1, skipped=1, errors=1)
    assert {name: (each.outcome, [*each.measurements]) for name, each in stored.items()} == {
        "test_delivery.py::test_lossless": ("passed", ["9 jobs", "none lost"]),
        "test_delivery.py::test_broken[db]": ("failed", ["2 lost"]),
        "test_delivery.py::test_impossible": ("skipped", ["another project uses the engine"]),
        "test_delivery.py::test_without_stack": ("failed", []),
    }
    run.stdout.fnmatch_lines(["test_delivery.py::test_lossless *passed  9 jobs; none lost"])


def test_results_are_not_stored_by_default(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "store", lambda _results: pytest.fail("stored"))
    monkeypatch.setattr(conftest, "DRILLS", {})
    pytester.mkdir("drills").joinpath("test_delivery.py").write_text("def test_lossless(record): record('9 jobs')")
    run = pytester.runpytest_inprocess("-p", "tests.live.drills.conftest", "-p", "no:cacheprovider")
    run.assert_outcomes(passed=1)


def test_a_run_keeps_the_results_of_other_drills(root: Path) -> None:
    results.store({"test_delivery.py::test_a": PASSED, "test_delivery.py::test_b[db]": PASSED}, root)
    results.store({"test_delivery.py::test_a": replace(PASSED, outcome="failed")}, root)
    assert {name: each.outcome for name, each in results.load(root).items()} == {
        "test_delivery.py::test_a": "failed",
        "test_delivery.py::test_b[db]": "passed",
    }


@pytest.mark.parametrize("gone", ["test_delivery.py::test_c", "test_delivery.py::test", "test_gone.py::test_a"])
def test_results_of_removed_drills_are_dropped(root: Path, gone: str) -> None:
    results.store({"test_delivery.py::test_a": PASSED, gone: PASSED}, root)
    assert list(results.load(root)) == ["test_delivery.py::test_a"]


def test_results_of_a_class_are_kept(root: Path) -> None:
    results.store({"test_delivery.py::TestKilled::test_a[db::0]": PASSED}, root)
    assert "| a[db::0] | passed |" in results.markdown(results.load(root))


def test_results_are_published_in_the_document(root: Path) -> None:
    results.store({"test_delivery.py::test_a": PASSED}, root)
    text = (root / DOCUMENT).read_text(encoding="utf-8")
    assert "| a | passed | 9 jobs, none \\| lost | 12 s | 2026-01-31, abc123 |\n" in text
    assert "- a processor, 2 cores, 24 GiB: Debian, Linux 6.18" in text


def test_the_document_is_up_to_date() -> None:
    text = (CHECKOUT / DOCUMENT).read_text(encoding="utf-8")
    assert text == results.updated(CHECKOUT), "run python -m tests.live.drills.results"


def test_every_file_of_drills_has_a_table() -> None:
    blocks = {part["name"] for part in PART.finditer((CHECKOUT / DOCUMENT).read_text(encoding="utf-8"))}
    files = {path.stem.removeprefix("test_") for path in (CHECKOUT / FOLDER).glob("test_*.py")}
    assert blocks == {*files, results.MACHINE}
