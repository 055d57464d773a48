"""Conditions on statuses, headers and JSON values, as they are written in specs."""

import json
import math
import operator
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Self

from netmon import expressions

JsonValue = str | int | float | bool | None

_STATUS = re.compile(r"([1-5])[xX]{2}|([1-5]\d\d)(?:\s*-\s*([1-5]\d\d))?", re.ASCII)
_HEADER = re.compile(
    r"(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128})(?:\s+(?P<test>==|contains|matches)\s+(?P<value>.+))?"
)
# The path ends at the first operator outside of brackets.
_JSON = re.compile(
    r"""(?P<path>(?:[^\[<>=!]|\[(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\]"'])*\])+?)"""
    r"""(?:\s*(?P<test>==|!=|<=|>=|<|>)\s*(?P<value>.+))?"""
)
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class StatusRange(NamedTuple):
    """The statuses from `first` to `last`."""

    first: int
    last: int

    @classmethod
    def parse(cls, value: int | str) -> Self:
        """Parse a status, a class such as `2xx`, or a range such as `200-299`.

        Raises:
            ValueError: it is none of these.
        """
        found = _STATUS.fullmatch(str(value).strip())
        if not found:
            raise ValueError("not a status from 100 to 599, a class such as 2xx, or a range such as 200-299")
        if found[1]:
            return cls(int(found[1]) * 100, int(found[1]) * 100 + 99)
        first = int(found[2])
        last = int(found[3] or first)
        if last < first:
            raise ValueError(f"the range ends before it begins: write {last}-{first}")
        return cls(first, last)

    @property
    def normal(self) -> int | str:
        """A single status as a number, which the former release understands; a class or a range as text."""
        if self.first == self.last:
            return self.first
        if self.first % 100 == 0 and self.last == self.first + 99:
            return f"{self.first // 100}xx"
        return f"{self.first}-{self.last}"


def normal_status(value: object) -> int | str:
    """The canonical form of an expected status.

    Raises:
        ValueError: it is no status, class or range.
    """
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return StatusRange.parse(f"{value:g}" if isinstance(value, float) else text).normal


class HeaderCondition(NamedTuple):
    """A condition on a header of the response: it is there, or its value passes a test."""

    name: str
    test: str | None
    """`==`, `contains` or `matches`; None: any value passes."""
    value: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `Name`, `Name == value`, `Name contains text` or `Name matches expression`.

        Raises:
            ValueError: it is none of these.
        """
        found = _HEADER.fullmatch(text.strip())
        if not found:
            raise ValueError("must be the name of a header, alone or followed by ==, contains or matches, and a value")
        name, test, value = found.groups()
        if test == "matches":
            expressions.pattern(value)
        return cls(name, test, value or "")

    def holds(self, value: str) -> bool:
        """Whether a value of the header passes."""
        match self.test:
            case None:
                return True
            case "==":
                return value == self.value
            case "contains":
                return self.value in value
            case _:
                return expressions.pattern(self.value).is_in(value)


class JsonCondition(NamedTuple):
    """A condition on the values that a JSON path leads to: there is one, or all of them pass a comparison."""

    path: str
    test: str | None
    """`==`, `!=`, `<`, `<=`, `>` or `>=`; None: any value passes."""
    value: JsonValue

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a JSON path, alone or with a comparison: `$.status == "up"`.

        Raises:
            ValueError: it is none, or the value is not JSON.
        """
        found = _JSON.fullmatch(text.strip())
        if not found:
            raise ValueError('must be a JSON path, alone or with a comparison, such as $.status == "up"')
        expressions.path(found["path"].strip())
        value = _json_value(found["value"]) if found["test"] else None
        if found["test"] in ("<", "<=", ">", ">=") and (value is None or isinstance(value, bool)):
            raise ValueError(f"{found['test']} compares numbers, or texts, and not {json.dumps(value)}")
        return cls(found["path"].strip(), found["test"], value)

    def holds(self, value: Any) -> bool:
        """Whether a value passes: values of different types are different, and none is less than the other."""
        if self.test is None:
            return True
        if _type(value) != _type(self.value):
            return self.test == "!="
        return _COMPARISONS[self.test](value, self.value)


def _json_value(text: str) -> JsonValue:
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        value = ()
    if not isinstance(value, str | int | float | bool | None) or (
        isinstance(value, float) and not math.isfinite(value)
    ):
        raise ValueError("the value must be JSON: a text in double quotes, a number, true, false or null")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _type(value: object) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


@lru_cache(4096)
def header(text: str) -> HeaderCondition:
    """The parsed condition on a header; raises ValueError."""
    return HeaderCondition.parse(text)


@lru_cache(4096)
def json_value(text: str) -> JsonCondition:
    """The parsed condition on JSON values; raises ValueError."""
    return JsonCondition.parse(text)
