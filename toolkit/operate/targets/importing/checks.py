"""Checks of responses in the forms of other monitors, as settings of HTTP targets."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence

ALL_STATUSES = range(100, 600)
BELOW_400 = (frozenset(range(100, 400)), frozenset(range(200, 400)))
"""The statuses that are a success without a setting, with those that no last response has, and without."""
MAX_CONDITIONS = 10
"""Conditions on headers, and on JSON values, of a target."""

_PATH = re.compile(r"(?:\.[^.\[\]\s]+|\[\d+\])*")
_SEGMENT = re.compile(r"\.([^.\[\]\s]+)|\[(\d+)\]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_JSON_VALUE = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null", re.ASCII)


def statuses(accepted: Collection[int]) -> list[int | str]:
    """The setting ``expected_status`` for a set of statuses; empty for all below 400.

    Args:
        accepted: Statuses from 100 to 599.
    """
    if set(accepted) in BELOW_400:
        return []
    runs: list[list[int]] = []
    for status in sorted(set(accepted)):
        if runs and status == runs[-1][-1] + 1:
            runs[-1].append(status)
        else:
            runs.append([status])
    return [_range(run[0], run[-1]) for run in runs]


def _range(first: int, last: int) -> int | str:
    if first == last:
        return first
    return f"{first // 100}xx" if first % 100 == 0 and last == first + 99 else f"{first}-{last}"


def json_condition(path: str, operator: str, value: str) -> str | None:
    """A condition on a JSON value; None if there is none like it.

    Args:
        path: Names and indexes, such as ``.items[0].name``.
        operator: ``==``, ``!=``, ``<``, ``<=``, ``>`` or ``>=``; empty: there is a value.
        value: A number, ``true``, ``false``, ``null``, or any other text.
    """
    if not _PATH.fullmatch(path):
        return None
    segments = [_segment(*found) for found in _SEGMENT.findall(path)]
    if not operator:
        return "$" + "".join(segments)
    is_json = _JSON_VALUE.fullmatch(value)
    if operator not in ("==", "!=") and (not is_json or value in ("true", "false", "null")):
        return None
    text = value if is_json else json.dumps(value, ensure_ascii=False)
    return f"${''.join(segments)} {operator} {text}"


def _segment(name: str, index: str) -> str:
    if index:
        return f"[{int(index)}]"
    return f".{name}" if _NAME.fullmatch(name) else f"[{json.dumps(name, ensure_ascii=False)}]"


def whole(text: str) -> str:
    """The regular expression for a body that is this text, with spaces around it."""
    return rf"^\s*{re.escape(text)}\s*$"


def glob(pattern: str) -> str | None:
    """The regular expression for a pattern with ``*`` and ``?``; None if it has other special characters."""
    if re.search(r"[\[\]\\]", pattern):
        return None
    parts: Sequence[str] = re.split(r"([*?])", pattern)
    return "(?s)^" + "".join({"*": ".*", "?": "."}.get(part, re.escape(part)) for part in parts) + "$"
