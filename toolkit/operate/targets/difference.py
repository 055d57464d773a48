"""The difference between a file and the stored targets, as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.core import console
from toolkit.operate.targets.targetfile import MASK

MAX_VALUE = 60
"""Characters of a value that are shown."""
NEW, CHANGED, DELETED, MISSING = "+", "~", "-", "?"
WINDOW = "window "
"""Prefix of the names of maintenance windows."""

_STYLES = {NEW: "green", CHANGED: "yellow", DELETED: "red", MISSING: "dim"}

Row = tuple[str, str, str]
"""A sign, the name of a target, and what happens to it."""


def rows(change: Mapping[str, Any]) -> list[Row]:
    """The rows of a change: targets, then maintenance windows."""
    found: list[Row] = [(NEW, each["name"], "new") for each in change["created"]]
    found += _updated(change["updated"], "")
    found += [(DELETED, each["name"], "deleted, with its history") for each in change["deleted"]]
    found += [(MISSING, each["name"], "not in the file, kept") for each in change["missing"]]
    windows = change.get("maintenance")
    if windows:
        found += [(NEW, WINDOW + name, "new") for name in windows["created"]]
        found += _updated(windows["updated"], WINDOW)
        found += [(DELETED, WINDOW + name, "deleted") for name in windows["deleted"]]
        found += [(MISSING, WINDOW + name, "not in the file, kept") for name in windows["missing"]]
        found += [(MISSING, WINDOW + name, "has ended: remove it from the file") for name in windows["ended"]]
    return found


def _updated(updated: Sequence[Mapping[str, Any]], prefix: str) -> list[Row]:
    found = []
    for each in updated:
        texts = [_text(field) for field in each["changes"]]
        found += [(CHANGED, "" if index else prefix + each["name"], text) for index, text in enumerate(texts)]
    return found


def summary(change: Mapping[str, Any], *, done: bool = False) -> str:
    """The numbers of a change, without those that are zero; ``done`` if it has been made."""
    numbers = {name: _count(change, name) for name in ("created", "updated", "deleted", "missing", "unchanged")}
    words = _DONE if done else _PLANNED
    return ", ".join(f"{numbers[name]} {word}" for name, word in words.items() if numbers[name]) or "no targets"


_DONE = {"created": "created", "updated": "updated", "deleted": "deleted"}
_PLANNED = {
    "created": "to create",
    "updated": "to update",
    "deleted": "to delete",
    "missing": "not in the file",
    "unchanged": "unchanged",
}


def _count(change: Mapping[str, Any], name: str) -> int:
    """The number of targets and windows."""
    found = [each[name] for each in (change, change.get("maintenance")) if each]
    return sum(each if isinstance(each, int) else len(each) for each in found)


def is_change(change: Mapping[str, Any]) -> bool:
    """Whether anything is created, updated or deleted."""
    return any(_count(change, name) for name in ("created", "updated", "deleted"))


def is_drift(change: Mapping[str, Any]) -> bool:
    """Whether the file and the application differ."""
    return is_change(change) or _count(change, "missing") > 0


def show(change: Mapping[str, Any]) -> None:
    """Print the rows and the numbers."""
    table: Sequence[Row] = rows(change)
    if table:
        console.table(("", "target", "change"), [_printable(row) for row in table], [_STYLES[row[0]] for row in table])
    console.say(summary(change))


def _text(field: Mapping[str, Any]) -> str:
    before, after = field["before"], field["after"]
    if before == after == MASK:
        return f"{field['field']}: another value"
    return f"{field['field']}: {_value(before)} → {_value(after)}"


def _value(value: object) -> str:
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"


def _printable(row: Row) -> Row:
    """A row without control characters, which a terminal would interpret."""
    sign, name, text = ("".join(each if each.isprintable() else "�" for each in cell) for cell in row)
    return sign, name, text
