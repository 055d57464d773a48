"""Commands, written files and exports of a shell script, from its syntax tree.

Bodies of functions count whether or not they are called. Arguments are inspected only for programs that start another
one: `exec`, `timeout`, `env`, `sh -c`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

_PARSER = Parser(Language(tree_sitter_bash.language()))

ARGUMENTS = "$@"
"""The word for all the arguments of the script."""
UNKNOWN = "*"
"""The value of any other expansion, as a pattern."""

SHELLS = {"sh", "bash"}
BUILTINS = {
    "sh": {".", ":", "[", "alias", "bg", "break", "cd", "command", "continue", "echo", "eval", "exec", "exit", "export",
           "false", "fg", "getopts", "hash", "jobs", "kill", "local", "printf", "pwd", "read", "readonly", "return",
           "set", "shift", "test", "times", "trap", "true", "type", "ulimit", "umask", "unalias", "unset", "wait"}
}  # fmt: skip
BUILTINS["bash"] = BUILTINS["sh"] | {"[[", "builtin", "declare", "disown", "enable", "let", "mapfile", "readarray",
                                     "shopt", "source", "typeset"}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """A command: its words, its line, and its conditions.

    A condition is the name of a program tested with `command -v`, or ``$NAME`` of a variable that must be set.
    """

    words: tuple[str, ...]
    line: int
    guard: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Write:
    """A file that a script writes: its absolute path, its line, and its conditions."""

    path: str
    line: int
    guard: frozenset[str]


@dataclass
class Script:
    """A parsed script. ``guarded`` are programs that it tests for; ``broken`` is the line of a syntax error."""

    shebang: tuple[str, ...] = ()
    calls: list[Call] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)
    writes: list[Write] = field(default_factory=list)
    exports: set[str] = field(default_factory=set)
    guarded: set[str] = field(default_factory=set)
    broken: int | None = None

    @property
    def shell(self) -> str:
        """The name of the shell in its first line."""
        return self.shebang[-1].rpartition("/")[2] if self.shebang else "sh"


@lru_cache(maxsize=64)  # services share scripts
def parse(text: str, first: int = 1) -> Script:
    """Parse a script whose first line has the number ``first``."""
    script = Script()
    if text.startswith("#!"):
        script.shebang = tuple(text.partition("\n")[0][2:].split())
    # The grammar does not know `<>`, which opens a file for reading and writing.
    tree = _PARSER.parse(text.replace("<>", "< ").encode())
    _walk(tree.root_node, script, first, frozenset())
    if script.broken:
        script.broken = min(script.broken, first + text.rstrip("\n").count("\n"))
    return script


def calls_in(words: Sequence[str], line: int, guard: frozenset[str] = frozenset()) -> Iterator[Call]:
    """A command and the commands that it starts, from its words."""
    words = tuple(words)
    match words:
        case ["exec" | "nohup", *rest]:
            yield from calls_in(rest, line, guard)
        case ["command", first, *_] if not first.startswith("-"):
            yield from calls_in(words[1:], line, guard)
        case ["timeout", _, *rest]:
            yield Call(words, line, guard)
            yield from calls_in(rest, line, guard)
        case ["env", *rest]:
            yield Call(words, line, guard)
            while rest and "=" in rest[0]:
                rest = rest[1:]
            yield from calls_in(rest, line, guard)
        case [_, *_]:
            yield Call(words, line, guard)


def inline_script(call: Call) -> Script | None:
    """The script in the arguments of a shell (`sh -c '…'`), or None."""
    match call.words:
        case [shell, "-c", text, *_] if shell.rpartition("/")[2] in SHELLS and text != UNKNOWN:
            return parse(text, call.line)
    return None


def _walk(node: Node, script: Script, first: int, guard: frozenset[str]) -> None:
    line = node.start_point.row + first
    if node.type == "ERROR" or node.is_missing:
        script.broken = script.broken or line
    if node.type in {"if_statement", "elif_clause"}:
        _branch(node, script, first, guard)
        return
    if node.type == "command":
        words = [_literal(child) for child in node.named_children if child.type not in SKIPPED]
        _record([*words, *_dropped_words(node)], script, line, guard)
    elif node.type == "test_command" and node.text and node.text.startswith(b"[["):
        script.calls.append(Call(("[[",), line, guard))
    elif node.type == "function_definition":
        name = node.child_by_field_name("name")
        script.functions.add(_literal(name) if name else "")
    elif node.type == "declaration_command":
        words = [
            _literal(child) if child.is_named else child.type for child in node.children if child.type != "comment"
        ]
        _record(words, script, line, guard)
    elif node.type == "file_redirect":
        target = node.child_by_field_name("destination")
        path = _literal(target) if target else ""
        if path.startswith("/") and any(child.type in WRITING for child in node.children):
            script.writes.append(Write(path, line, guard))
    for child in node.children:
        _walk(child, script, first, guard)


def _record(words: Sequence[str], script: Script, line: int, guard: frozenset[str]) -> None:
    script.calls += calls_in(words, line, guard)
    if words and words[0] == "export":
        script.exports |= {word.partition("=")[0] for word in words[1:]}


def _dropped_words(command: Node) -> list[str]:
    """The words between a command and its here-document, where the grammar drops a `-`."""
    redirect = command.next_sibling
    if redirect is None or redirect.type != "heredoc_redirect" or not command.parent or not command.parent.text:
        return []
    operator = next(child for child in redirect.children if child.type in {"<<", "<<-"})
    start = command.parent.start_byte
    return command.parent.text[command.end_byte - start : operator.start_byte - start].decode().split()


SKIPPED = {"comment", "variable_assignment", "file_redirect", "herestring_redirect", "heredoc_redirect"}
WRITING = {">", ">>", ">|", "&>", "&>>"}


def _branch(node: Node, script: Script, first: int, guard: frozenset[str]) -> None:
    """A conditional: `if command -v PROGRAM` and `[ -n "$NAME" ]` become conditions of the commands in its body."""
    inner = guard
    in_condition = True
    for child in node.children:
        if child.type == "then":
            in_condition = False
            programs = _programs_tested(node)
            inner = guard | programs | _variables_tested(node)
            script.guarded |= programs
        _walk(child, script, first, guard if in_condition or child.type in {"elif_clause", "else_clause"} else inner)


def _programs_tested(node: Node) -> frozenset[str]:
    """The programs that a condition tests for."""
    condition = Script()
    for child in node.children:
        if child.type == "then":
            break
        _walk(child, condition, 1, frozenset())
    return frozenset(
        call.words[2] for call in condition.calls if call.words[:2] == ("command", "-v") and call.words[2:]
    )


def _variables_tested(node: Node) -> frozenset[str]:
    """The variables that a condition requires to be set, each as ``$NAME``."""
    text = (node.text or b"").decode().partition("then")[0]
    alternative = "||" in text or "!" in text
    return frozenset() if alternative else frozenset(f"${name}" for name in re.findall(r'-n +"?\$\{?(\w+)', text))


def _literal(node: Node) -> str:
    """The text of a word; expansions become a pattern."""
    text = (node.text or b"").decode()
    match node.type:
        case "word" | "number" | "variable_name" | "string_content":
            return text
        case "raw_string":
            return text[1:-1]
        case "command_name" | "concatenation" | "string":
            if text == f'"{ARGUMENTS}"':
                return ARGUMENTS
            return _joined(node)
        case "variable_assignment":
            return f"{text.partition('=')[0]}=*"
    return UNKNOWN


def _joined(node: Node) -> str:
    """The parts of a word joined, including the text between named nodes."""
    inner = [child for child in node.children if child.type != '"']
    return "".join(_literal(child) if child.is_named else (child.text or b"").decode() for child in inner)
