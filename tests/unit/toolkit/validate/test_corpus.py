"""The tables of docs/probes.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.toolkit.validate.conftest import ROOT
from toolkit.validate import corpus
from toolkit.validate.checkout import Checkout
from toolkit.validate.documents import PART, probes

DOCUMENT = "docs/probes.md"

UP = {"status": 200, "error": None, "text": True}
UNREAD = UP | {"text": False}
DOWN = {"status": None, "error": "exit 1", "text": False}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    def entry(curl: Any, chromium: Any, blackbox: Any, probe: Any, reason: str = "") -> dict[str, Any]:
        verdicts = {"curl": curl, "chromium": chromium, "blackbox_exporter": blackbox}
        return {"probe": probe, "reason": reason, **verdicts}

    missing = UP | {"status": 404}
    entries = {
        "Length: a": entry(UP, UP, UP, UP),
        "Length: b": entry(DOWN, UP, UP, DOWN | {"error": "protocol"}, "because"),
        "Length: c": entry(missing, missing, missing, {"status": 404, "error": "http_status", "text": False}),
        "Length: d": entry(UP, UP, DOWN, UP),
        "Length: e": entry(UP, UP, UP, DOWN | {"error": "protocol"}, "all agree"),
        "Charsets: f": entry(UP, UNREAD, UP, UP, "two"),
        "Charsets: g": entry(UP, UNREAD, UNREAD, UNREAD),
    }
    (tmp_path / corpus.FILE).parent.mkdir(parents=True)
    (tmp_path / corpus.FILE).write_text(json.dumps(entries))
    return tmp_path


def test_a_subject_has_the_numbers_of_equal_verdicts(root: Path) -> None:
    assert list(corpus.groups(root)) == [
        ("Length", "5", "4", "3", "3", "2", "3", "4", "2", "1"),
        ("Charsets", "2", "2", "1", "1", "1", "1", "1", "2", "0"),
        ("all", "7", "6", "4", "4", "3", "4", "5", "4", "1"),
    ]


def test_an_answer_with_a_reason_has_its_verdicts(root: Path) -> None:
    assert list(corpus.differences(root)) == [
        ("Length: b", "fails", "200", "200", "fails", "because"),
        ("Length: e", "200", "200", "200", "fails", "all agree"),
        ("Charsets: f", "200, text not found", "200, text not found", "200", "200", "two"),
    ]


def test_rows_have_the_columns_of_their_table(root: Path) -> None:
    assert {len(row) for row in corpus.groups(root)} == {len(corpus.GROUPS)}
    assert {len(row) for row in corpus.differences(root)} == {len(corpus.DIFFERENCES)}


def test_the_tables_of_the_documentation_are_those_of_the_recorded_verdicts() -> None:
    tables = {part["name"]: part["text"] for part in PART.finditer((ROOT / DOCUMENT).read_text(encoding="utf-8"))}
    assert tables == {name: probes(Checkout(ROOT), name) for name in ("groups", "differences")}
