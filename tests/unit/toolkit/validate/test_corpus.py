"""The tables of docs/probes.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from toolkit.validate import corpus

UP = {"status": 200, "error": None, "text": True}
DOWN = {"status": None, "error": "exit 1", "text": False}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    def entry(curl: Any, chromium: Any, probe: Any, reason: str = "") -> dict[str, Any]:
        return {"curl": curl, "chromium": chromium, "probe": probe, "reason": reason}

    entries = {
        "Length: a": entry(UP, UP, UP),
        "Length: b": entry(DOWN, UP, DOWN | {"error": "protocol"}, "because"),
        "Length: c": entry(
            UP | {"status": 404}, UP | {"status": 404}, {"status": 404, "error": "http_status", "text": False}
        ),
        "Charsets: d": entry(UP, UP | {"text": False}, UP, "two"),
        "Charsets: e": entry(UP, UP | {"text": False}, UP | {"text": False}),
    }
    (tmp_path / corpus.FILE).parent.mkdir(parents=True)
    (tmp_path / corpus.FILE).write_text(json.dumps(entries))
    return tmp_path


def test_a_subject_has_the_numbers_of_equal_verdicts(root: Path) -> None:
    assert list(corpus.groups(root)) == [
        ("Length", "3", "2", "2", "2", "3"),
        ("Charsets", "2", "2", "1", "1", "1"),
        ("all", "5", "4", "3", "3", "4"),
    ]


def test_an_answer_with_a_reason_has_its_verdicts(root: Path) -> None:
    assert list(corpus.differences(root)) == [
        ("Length: b", "fails", "200", "fails", "because"),
        ("Charsets: d", "200, text not found", "200, text not found", "200", "two"),
    ]
