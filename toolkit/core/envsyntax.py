"""The syntax of .env that docker compose, Python and people read in the same way; everything else is refused.

Compose expands ``$``, unescapes some backslashes, and cuts a value at `` #``, each silently.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

_ASSIGNMENT = re.compile(r" *(?:export +)?(?P<name>[A-Za-z_][A-Za-z0-9_]*) *= *(?P<value>.*?) *\r?")
_BLANK = re.compile(r"\s*(?:#.*)?")

SYNTAX = "a line is NAME=VALUE or, after a #, a comment"
CHARACTERS = "tabs, control characters and unusual spaces are not supported"
QUOTES = "a value in quotes ends at the next quote, which ends the line; write a comment on a separate line"
BACKSLASH = "a backslash in quotes is not supported: write the value without quotes"
DOLLAR = "docker compose expands $: put the value in single quotes"
COMMENT = "docker compose cuts a value at ' #': put the value in quotes, or the comment on a separate line"


@dataclass(frozen=True)
class Problem:
    """A line of .env that breaks ``rule``; it does not show the value, which may be a password."""

    line: int
    name: str
    rule: str

    def __str__(self) -> str:
        return f"line {self.line}: {f'{self.name}: ' if self.name else ''}{self.rule}"


def assignments(text: str) -> Iterator[tuple[int, str, str] | Problem]:
    """The line, name and value of every variable, without quotes, or the problem of its line."""
    for number, line in enumerate(text.split("\n"), 1):
        if _BLANK.fullmatch(line):
            continue
        match = _ASSIGNMENT.fullmatch(line)
        if match is None:
            yield Problem(number, "", CHARACTERS if _has_unusual(line.rstrip("\r")) else SYNTAX)
        elif rule := broken_rule(match["value"]):
            yield Problem(number, match["name"], rule)
        else:
            quoted = match["value"][:1] in {"'", '"'}
            yield number, match["name"], match["value"][1:-1] if quoted else match["value"]


def broken_rule(value: str) -> str:
    """The rule that a value breaks, as it is written in .env; empty if it breaks none."""
    if _has_unusual(value):
        return CHARACTERS
    if (quote := value[:1]) in {"'", '"'}:
        inner = value[1:-1]
        if len(value) < 2 or value[-1] != quote or quote in inner:
            return QUOTES
        if "\\" in inner:
            return BACKSLASH
        return DOLLAR if quote == '"' and "$" in inner else ""
    if "$" in value:
        return DOLLAR
    return COMMENT if re.search(r"(?:^| )#", value) else ""


def written(value: str) -> str | None:
    """A value as it is written in .env, in quotes if necessary; None if it cannot be written."""
    forms = (value, f"'{value}'", f'"{value}"')
    return next((form for form in forms if list(assignments(f"X={form}")) == [(1, "X", value)]), None)


def _has_unusual(text: str) -> bool:
    return any(each != " " and unicodedata.category(each)[0] in "CZ" for each in text)
