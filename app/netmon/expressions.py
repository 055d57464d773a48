"""Expressions of assertions, whose evaluation takes time in proportion to their input.

Regular expressions are those of RE2, which never backtracks. JSON paths (RFC 9535) consist of names, indexes, slices
and wildcards, one in each segment: descendants, filters and lists of selectors can take exponential time.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import re2
from jsonpath import JSONPath, JSONPathEnvironment
from jsonpath.exceptions import JSONPathError
from jsonpath.segments import JSONPathChildSegment
from jsonpath.selectors import IndexSelector, NameSelector, SliceSelector, WildcardSelector

MAX_EXPRESSION = 1024
"""Characters of an expression."""
MAX_PROGRAM = 1500
"""Instructions of a regular expression: at worst, each byte of a text takes time in proportion to them. With this limit
a mebibyte takes some 2 s, and with `.{500}` five times, which RE2 accepts, a minute."""
MAX_VALUES = 10_000
"""Values that each part of a JSON path may lead to."""

_CACHED = 4096
_LINEAR = (NameSelector, IndexSelector, SliceSelector, WildcardSelector)
_PATHS = JSONPathEnvironment(strict=True)
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False


class Pattern:
    """A regular expression; `text` is its source."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            # Of bytes: for text, the library counts the characters before each match.
            self._compiled = re2.compile(text.encode(), _OPTIONS)
        except UnicodeEncodeError:
            raise ValueError("not a regular expression: it contains half of a character (a surrogate)") from None
        except re2.error as error:
            reason = error.args[0] if error.args else ""
            reason = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
            raise ValueError(f"not a regular expression of RE2: {reason}") from None
        if self._compiled.programsize > MAX_PROGRAM:
            raise ValueError(
                f"too large a regular expression ({self._compiled.programsize} instructions, at most {MAX_PROGRAM}): "
                "shorten its repetitions, such as .{500}"
            )

    def is_in(self, text: str) -> bool:
        """Whether some part of a text matches."""
        return self._compiled.search(text.encode(errors="replace")) is not None


class Path:
    """A JSON path."""

    def __init__(self, text: str) -> None:
        try:
            compiled = _PATHS.compile(text)
        except (JSONPathError, ValueError, RecursionError) as error:
            reason = str(error).splitlines()[0].strip().replace("TOKEN_", "") if str(error) else ""
            raise ValueError(f"not a JSON path of RFC 9535{': ' * bool(reason)}{reason}") from None
        if not isinstance(compiled, JSONPath) or not all(map(_is_linear, compiled.segments)):
            raise ValueError(
                "a JSON path consists of names, indexes, slices and *, one in each segment: "
                "descendants (..), filters and lists of selectors are not supported"
            )
        self._segments = [segment.selectors[0] for segment in compiled.segments]

    def values(self, document: Any) -> Sequence[Any]:
        """The values that the path leads to in a JSON document.

        Raises:
            ValueError: it leads to more than `MAX_VALUES`.
        """
        # The library makes an object with the location of each value, which takes fifty times as long.
        found = [document]
        for selector in self._segments:
            found = [child for value in found for child in _children(value, selector)]
            if len(found) > MAX_VALUES:
                raise ValueError(f"more than {MAX_VALUES} values")
        return found


def _is_linear(segment: object) -> bool:
    return (
        isinstance(segment, JSONPathChildSegment)
        and len(segment.selectors) == 1
        and isinstance(segment.selectors[0], _LINEAR)
    )


def _children(value: Any, selector: object) -> Sequence[Any]:
    match selector, value:
        case NameSelector(), dict():
            return [value[selector.name]] if selector.name in value else ()
        case IndexSelector(), list():
            return [value[selector.index]] if -len(value) <= selector.index < len(value) else ()
        case SliceSelector(), list():
            return () if selector.slice.step == 0 else value[selector.slice]
        case WildcardSelector(), dict():
            return list(value.values())
        case WildcardSelector(), list():
            return value
        case _:
            return ()


@lru_cache(_CACHED)
def pattern(text: str) -> Pattern:
    """A regular expression; compiled ones are kept, because each probe and each reading of a target needs them.

    Raises:
        ValueError: it is none; the message gives the reason.
    """
    return Pattern(text)


@lru_cache(_CACHED)
def path(text: str) -> Path:
    """A JSON path.

    Raises:
        ValueError: it is none, or its evaluation is not linear; the message gives the reason.
    """
    return Path(text)
