"""YAML files with positions, including Compose's own tags (`!reset`, `!override`)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from yaml import CSafeLoader
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from toolkit.validate.findings import BrokenFileError, Finding

Key = str | int


class Loader(CSafeLoader):
    """Plain YAML; unknown tags are ignored."""


def _untagged(loader: Loader, _suffix: str, node: Node) -> Any:
    if isinstance(node, MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return yaml.safe_load(node.value)


Loader.add_multi_constructor("!", _untagged)


class Source:
    """One YAML file of the repository.

    Raises:
        BrokenFileError: it is missing or is not YAML.
    """

    def __init__(self, root: Path, file: str) -> None:
        self.file = file
        try:
            self.text = (root / file).read_text(encoding="utf-8")
            self.node = yaml.compose(self.text, CSafeLoader)
        except OSError as error:
            raise BrokenFileError(Finding(file, 1, f"cannot be read: {error.strerror}")) from error
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise BrokenFileError(Finding(file, line, f"is not valid YAML: {error.problem}")) from error

    @cached_property
    def data(self) -> Any:
        """The content as plain objects, anchors and merge keys resolved."""
        return yaml.load(self.text, Loader)  # noqa: S506 - a SafeLoader

    def find(self, *keys: Key) -> tuple[Node | None, int, int]:
        """Follow ``keys`` as far as the file has them, through merge keys too.

        Returns:
            The node that all keys lead to, or None; the line of the deepest key found, from 1; how many were found.
        """
        node, line = self.node, 1
        for depth, key in enumerate(keys):
            step = _step(node, key)
            if step is None:
                return None, line, depth
            node, line = step
        return node, line, len(keys)

    def node_at(self, *keys: Key) -> Node | None:
        """The node that the keys lead to, or None."""
        return self.find(*keys)[0]

    def finding(self, *keys: Key, problem: str = "") -> Finding:
        """A finding at the deepest of ``keys`` in the file."""
        return Finding(self.file, self.find(*keys)[1], problem)

    def at(self, node: Node, problem: str = "") -> Finding:
        """A finding at a node."""
        return Finding(self.file, node.start_mark.line + 1, problem)

    def scalars(self) -> Iterator[ScalarNode]:
        """Every scalar of the file, keys included, in the order of the text."""
        seen: set[int] = set()
        pending = [self.node] if self.node else []
        while pending:
            node = pending.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, ScalarNode):
                yield node
            elif isinstance(node, MappingNode):
                pending += [part for pair in reversed(node.value) for part in reversed(pair)]
            else:
                pending += reversed(node.value)


def items(node: Node | None) -> list[tuple[ScalarNode, Node]]:
    """The keys and values of a mapping, without merge keys; empty for other nodes."""
    return list(node.value) if isinstance(node, MappingNode) else []


def elements(node: Node | None) -> list[Node]:
    """The elements of a sequence; empty for other nodes."""
    return list(node.value) if isinstance(node, SequenceNode) else []


def _step(node: Node | None, key: Key) -> tuple[Node, int] | None:
    """The value of ``key`` in ``node`` and its line."""
    if isinstance(node, SequenceNode) and isinstance(key, int) and key < len(node.value):
        value = node.value[key]
        return value, value.start_mark.line + 1
    merged: list[Node] = []
    for name, value in items(node):
        if name.value == "<<":
            merged += value.value if isinstance(value, SequenceNode) else [value]
        elif name.value == str(key):
            return value, name.start_mark.line + 1
    return next((step for each in merged if (step := _step(each, key))), None)
