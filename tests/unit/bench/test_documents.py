"""The documents have the figures of bench/results.json."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench import documents, results
from bench.__main__ import BENCHMARKS
from bench.origin import CHECKOUT
from bench.results import RESULTS
from tests.unit.bench.conftest import MakeRecord, figure
from toolkit.validate.documents import PART


def test_the_tables_are_up_to_date() -> None:
    for path, text in documents.updated(CHECKOUT).items():
        assert path.read_text(encoding="utf-8") == text, f"{path} is out of date: run python -m bench.documents"


def test_every_benchmark_has_a_table() -> None:
    text = (CHECKOUT / "docs/performance.md").read_text(encoding="utf-8")
    assert sorted(part["name"] for part in PART.finditer(text)) == sorted([*BENCHMARKS, documents.MACHINE])


def test_results_change_the_documents(tmp_path: Path, record: MakeRecord) -> None:
    for name in (*documents.DOCUMENTS, str(RESULTS)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy2(CHECKOUT / name, tmp_path / name)
    results.save(tmp_path / RESULTS, {"proxy": record(figure([12, 10, 11]), figure([13, 14, 15], key="part"))})
    documents.make(tmp_path)
    text = (tmp_path / "docs/performance.md").read_text(encoding="utf-8")
    assert "| the time | 11.0 s | 10.0 to 12.0 | 3 |\n" in text
    assert "`nox -s bench -- proxy`, 1.5 min, 2026-01-31, commit abc123, local images\n" in text
    assert "- a processor, 2 cores, 24 GiB: Debian, Linux 6.18" in text
    assert "Not measured yet: `nox -s bench -- startup`.\n" in text


def test_a_part_of_a_figure_is_not_in_the_documents(record: MakeRecord) -> None:
    part = figure([1, 2, 3], key="part")
    object.__setattr__(part, "detail", True)
    assert "the part" not in documents.performance({"proxy": record(figure([1]), part)}, "proxy")


def test_an_unmeasured_benchmark_has_its_reason(record: MakeRecord) -> None:
    found = {"dashboards": record(reason="the images in use have no Grafana")}
    assert documents.performance(found, "dashboards") == "Not measured: the images in use have no Grafana.\n"


def test_the_readme_has_the_highlights(record: MakeRecord) -> None:
    names = {name for name, _ in documents.HIGHLIGHTS}
    found = {
        name: record(*(figure([12, 10, 11], key=key) for each, key in documents.HIGHLIGHTS if each == name))
        for name in names
    }
    text = documents.readme(found, "figures")
    assert text.count("11.0 s (10.0 to 12.0)") == len(documents.HIGHLIGHTS) == 5


def test_a_highlight_that_its_benchmark_lacks_is_an_error(record: MakeRecord) -> None:
    with pytest.raises(LookupError, match="no figure 'verified'"):
        documents.readme({"startup": record(figure([1], key="other"))}, "figures")
