"""The tables of docs/probes.md, from the recorded verdicts of curl and Chromium."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

FILE = Path("tests/corpus/verdicts.json")
FAILS = "fails"
GROUPS = ("subject", "answers", "curl and Chromium agree", "the probe agrees with both", "with Chromium", "with curl")
DIFFERENCES = ("answer", "curl", "Chromium", "probe", "reason")
CHARSETS = "Charsets"
"""The subject on which curl has no opinion: it decodes no text."""

Entry = Mapping[str, Any]


def groups(root: Path) -> Iterator[Sequence[str]]:
    """A row for each subject of the corpus, and one for all of it."""
    entries = _load(root)
    names = dict.fromkeys(name.partition(": ")[0] for name in entries)
    for group in names:
        yield _counts(group, {name: each for name, each in entries.items() if name.startswith(f"{group}: ")})
    yield _counts("all", entries)


def differences(root: Path) -> Iterator[Sequence[str]]:
    """A row for each answer on which curl, Chromium and the probe do not agree."""
    for name, entry in _load(root).items():
        if entry["reason"]:
            yield name, *(_shown(each) for each in _verdicts(name, entry)), entry["reason"]


def _load(root: Path) -> Mapping[str, Entry]:
    entries: Mapping[str, Entry] = json.loads((root / FILE).read_text(encoding="utf-8"))
    return entries


def _counts(group: str, entries: Mapping[str, Entry]) -> Sequence[str]:
    verdicts = [_verdicts(name, each) for name, each in entries.items()]
    counts = (
        len(verdicts),
        sum(curl == chromium for curl, chromium, _ in verdicts),
        sum(curl == chromium == probe for curl, chromium, probe in verdicts),
        sum(chromium == probe for _, chromium, probe in verdicts),
        sum(curl == probe for curl, _, probe in verdicts),
    )
    return group, *map(str, counts)


def _verdicts(name: str, entry: Entry) -> list[tuple[int | None, bool]]:
    """Status and text of curl, Chromium and the probe; the text counts only of a page that is no error."""
    probe = entry["probe"]
    failed = probe["error"] not in (None, "http_status")
    seen = [entry["curl"], entry["chromium"], {"status": None if failed else probe["status"], "text": probe["text"]}]
    if name.startswith(f"{CHARSETS}: "):
        seen[0] = {**seen[0], "text": seen[1]["text"]}
    return [(each["status"], each["text"] and (each["status"] or 999) < 400) for each in seen]


def _shown(verdict: tuple[int | None, bool]) -> str:
    status, text = verdict
    if status is None:
        return FAILS
    return str(status) if text or status >= 400 else f"{status}, text not found"
