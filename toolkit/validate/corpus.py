"""The tables of docs/probes.md, from the recorded verdicts of curl, Chromium and blackbox_exporter."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

FILE = Path("tests/corpus/verdicts.json")
FAILS = "fails"
GROUPS = (
    "subject",
    "answers",
    "curl and Chromium agree",
    "the probe agrees with both",
    "all three agree",
    "the probe agrees with all",
    "with Chromium",
    "with curl",
    "with blackbox_exporter",
    "only blackbox_exporter differs",
)
DIFFERENCES = ("answer", "curl", "Chromium", "blackbox_exporter", "probe", "reason")
CLIENTS = ("curl", "chromium", "blackbox_exporter")
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
    """A row for each answer on which curl and Chromium differ, or the probe differs from both."""
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
        sum(curl == chromium for curl, chromium, _, _ in verdicts),
        sum(curl == chromium == probe for curl, chromium, _, probe in verdicts),
        sum(curl == chromium == blackbox for curl, chromium, blackbox, _ in verdicts),
        sum(curl == chromium == blackbox == probe for curl, chromium, blackbox, probe in verdicts),
        sum(chromium == probe for _, chromium, _, probe in verdicts),
        sum(curl == probe for curl, _, _, probe in verdicts),
        sum(blackbox == probe for _, _, blackbox, probe in verdicts),
        sum(curl == chromium == probe != blackbox for curl, chromium, blackbox, probe in verdicts),
    )
    return group, *map(str, counts)


def _verdicts(name: str, entry: Entry) -> list[tuple[int | None, bool]]:
    """Status and text of the clients and the probe; the text counts only of a page that is no error."""
    probe = entry["probe"]
    failed = probe["error"] not in (None, "http_status")
    curl, chromium, blackbox = (entry[client] for client in CLIENTS)
    if name.startswith(f"{CHARSETS}: "):
        curl = {**curl, "text": chromium["text"]}
    seen = curl, chromium, blackbox, {"status": None if failed else probe["status"], "text": probe["text"]}
    return [(each["status"], each["text"] and (each["status"] or 999) < 400) for each in seen]


def _shown(verdict: tuple[int | None, bool]) -> str:
    status, text = verdict
    if status is None:
        return FAILS
    return str(status) if text or status >= 400 else f"{status}, text not found"
