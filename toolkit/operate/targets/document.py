"""A YAML file as plain values, with the line of each of them.

Stricter than YAML: no tags, no aliases, no duplicate keys, text as keys. Scalars have the types of YAML 1.2: ``yes``,
``0o17`` and ``2026-01-31`` are text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from toolkit.core.errors import ToolkitError

MAX_BYTES = 8 * 1024 * 1024
"""As many bytes as the application accepts in a request; room for 20,000 targets."""
MAX_DEPTH = 20
SHOWN = 20
"""Mistakes that an error lists."""

Location = tuple[str | int, ...]
"""The keys and indexes that lead to a value."""

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_PREFIX = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Mistake:
    """A mistake in a file: its line, the key of the value, and the reason."""

    line: int
    key: str
    reason: str

    def render(self, name: str) -> str:
        """The mistake as one line."""
        place = f"{name}:{self.line}" if self.line else name
        return f"{place}: {self.key}: {self.reason}" if self.key else f"{place}: {self.reason}"


class MistakesError(ToolkitError):
    """A file has mistakes; nothing was changed."""

    def __init__(self, name: str, mistakes: list[Mistake]) -> None:
        self.mistakes = sorted(set(mistakes), key=lambda each: each.line)
        count = len(self.mistakes)
        lines = [each.render(name) for each in self.mistakes[:SHOWN]]
        lines += [f"and {count - SHOWN} more"] * (count > SHOWN)
        super().__init__(
            f"{name} has {count} mistakes" if count > 1 else f"{name} has a mistake",
            "nothing was changed\n  " + "\n  ".join(lines),
        )


class _Loader(yaml.CSafeLoader):
    """Composes nodes with the scalar types of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the interface of PyYAML


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(_PREFIX + _tag, re.compile(f"^(?:{_pattern})$"), _first)


@dataclass
class Document:
    """The value of a file, and the line of each key and item by its location; the file itself has the location ()."""

    name: str
    value: Any
    lines: dict[Location, int] = field(default_factory=dict)

    def line(self, at: Location) -> int:
        """The line of a location, or of the nearest one that contains it."""
        while at and at not in self.lines:
            at = at[:-1]
        return self.lines.get(at, 1)

    def mistake(self, at: Location, reason: str) -> Mistake:
        """A mistake at a location."""
        return Mistake(self.line(at), key_of(at), reason)


def key_of(at: Location) -> str:
    """A location as text: ``targets[3].spec.url``."""
    return "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in at).removeprefix(".")


def read(path: Path, fix: str = "check the path") -> bytes:
    """The content of a file; ``fix`` is the advice if there is none.

    Raises:
        ToolkitError: it cannot be read or is too large.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ToolkitError(f"cannot read {path}", error.strerror or str(error), fix) from error
    require_size(path.name, content)
    return content


def require_size(name: str, content: bytes) -> None:
    """Return if the content of a file is not too large.

    Raises:
        MistakesError: it is.
    """
    if len(content) > MAX_BYTES:
        reason = f"the file is larger than {MAX_BYTES // 1024 // 1024} MiB; 20,000 targets take less"
        raise MistakesError(name, [Mistake(0, "", reason)])


def parse(name: str, content: bytes) -> Document:
    """Parse a YAML file.

    Args:
        name: The name of the file, for errors.
        content: Its content.

    Raises:
        MistakesError: it is not a single YAML document of plain values in UTF-8.
    """
    require_size(name, content)
    text = _decoded(name, content)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise MistakesError(name, [_syntax(text, error)]) from error
    except yaml.YAMLError as error:
        raise MistakesError(name, [Mistake(0, "", f"not valid YAML: {error}")]) from error
    finally:
        loader.dispose()
    document = Document(name, None)
    if node is None:
        raise MistakesError(name, [Mistake(1, "", "the file is empty")])
    walk = _Walk(document)
    document.value = walk.value(node, ())
    if walk.alias:
        walk.mistakes = [Mistake(_alias_line(text), "", "an alias: write the value out, or use defaults")]
    if walk.mistakes:
        raise MistakesError(name, walk.mistakes)
    return document


def _decoded(name: str, content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        reason = f"not UTF-8: the byte 0x{content[error.start]:02x}"
        raise MistakesError(name, [Mistake(line, "", reason)]) from error
    found = _CONTROL.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        raise MistakesError(name, [Mistake(line, "", f"the control character U+{ord(found.group()):04X}")])
    return text


def _syntax(text: str, error: yaml.MarkedYAMLError) -> Mistake:
    mark = error.problem_mark or error.context_mark
    number = mark.line if mark else 0
    lines = text.splitlines()
    line = lines[number] if number < len(lines) else ""
    indent = line[: len(line) - len(line.lstrip())]
    reason = f"not valid YAML: {', '.join(filter(None, (error.context, error.problem)))}"
    if "\t" in indent or (mark and line[mark.column : mark.column + 1] == "\t"):
        reason = "a tab: indent with spaces"
    return Mistake(number + 1, "", reason)


def _alias_line(text: str) -> int:
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            return event.start_mark.line + 1 if event.start_mark else 0
    return 0


class _Walk:
    """Constructs the values of nodes, and collects mistakes; an alias ends it, since aliases of aliases never end."""

    def __init__(self, document: Document) -> None:
        self.mistakes: list[Mistake] = []
        self.alias = False
        self._document = document
        self._seen: set[int] = set()

    def value(self, node: yaml.Node, at: Location) -> Any:
        """The value of a node."""
        self.alias = self.alias or id(node) in self._seen
        if self.alias:
            return None
        self._seen.add(id(node))
        self._document.lines.setdefault(at, node.start_mark.line + 1)
        if len(at) > MAX_DEPTH:
            self._wrong(node, at, "nested too deeply")
            return None
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_PREFIX}map":
            return dict(self._items(node, at))
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_PREFIX}seq":
            return [self.value(each, (*at, index)) for index, each in enumerate(node.value)]
        return self._scalar(node, at)

    def _items(self, node: yaml.MappingNode, at: Location) -> Iterator[tuple[str, Any]]:
        lines: dict[str, int] = {}
        for key, each in node.value:
            if key.tag != f"{_PREFIX}str":
                self._wrong(key, at, f"a key must be text, and {_shown(key)} is none: quote it")
                continue
            line = key.start_mark.line + 1
            if key.value in lines:
                self._wrong(key, (*at, key.value), f"duplicate key, first in line {lines[key.value]}")
                continue
            lines[key.value] = self._document.lines[*at, key.value] = line
            yield key.value, self.value(each, (*at, key.value))

    def _scalar(self, node: yaml.Node, at: Location) -> Any:
        text = node.value
        match node.tag.removeprefix(_PREFIX):
            case "str":
                return text
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return int(text) if len(text) < 100 else float(text)
            case "float":
                return float(text)
            case _:
                self._wrong(node, at, f"the tag {node.tag.replace(_PREFIX, '!!')} is not supported: write plain values")
                return None

    def _wrong(self, node: yaml.Node, at: Location, reason: str) -> None:
        self.mistakes.append(Mistake(node.start_mark.line + 1, key_of(at), reason))


def _shown(node: yaml.Node) -> str:
    return str(node.value)[:40] if isinstance(node, yaml.ScalarNode) else "a list or a map"
