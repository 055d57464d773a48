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

_STYLES = {NEW: "green", CHANGED: "yellow", DELETED: "red", MISSING: "dim"}

Row = tuple[str, str, str]
"""A sign, the name of a target, and what happens to it."""


def rows(change: Mapping[str, Any]) -> list[Row]:
    """The rows of a change, in the order of names."""
    found: list[Row] = [(NEW, each["name"], "new") for each in change["created"]]
    for each in change["updated"]:
        texts = [_text(field) for field in each["changes"]]
        found += [(CHANGED, each["name"] if not index else "", text) for index, text in enumerate(texts)]
    found += [(DELETED, each["name"], "deleted, with its history") for each in change["deleted"]]
    found += [(MISSING, each["name"], "not in the file, kept") for each in change["missing"]]
    return found


def summary(change: Mapping[str, Any]) -> str:
    """The numbers of a change, without those that are zero."""
    numbers = {
        "to create": len(change["created"]),
        "to update": len(change["updated"]),
        "to delete": len(change["deleted"]),
        "not in the file": len(change["missing"]),
        "unchanged": change["unchanged"],
    }
    return ", ".join(f"{number} {what}" for what, number in numbers.items() if number) or "no targets"


def is_change(change: Mapping[str, Any]) -> bool:
    """Whether anything is created, updated or deleted."""
    return bool(change["created"] or change["updated"] or change["deleted"])


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
