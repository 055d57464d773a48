"""Commands and links in the documents: valid shell, existing tasks, options, sessions, pages and headings."""

from __future__ import annotations

import ast
import copy
import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path
from textwrap import dedent

from invoke.exceptions import ParseError
from invoke.parser import Parser
from invoke.program import Program

from tasks import namespace

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^ *```sh\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
ANY_FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
PLACEHOLDER = re.compile(r"\b[A-Z]{4,}\b|…")
"""TASK, NAME: values for the reader to fill in."""
VALUE = re.compile(r"(?<=--)([\w-]+)=\S+")
"""An option with its value, which may be such a placeholder."""


@cache
def documents() -> dict[str, str]:
    """The text of every document of the checkout, by path."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    return {name: (ROOT / name).read_text(encoding="utf-8") for name in listed if (ROOT / name).exists()}


def commands(program: str) -> Iterator[tuple[str, list[str]]]:
    """The arguments of every call of a program, in blocks and inline, with the path of the document."""
    for name, text in documents().items():
        lines = [line for block in FENCE.findall(text) for line in dedent(block).replace("\\\n", " ").splitlines()]
        inline = [" ".join(each.split()) for each in INLINE.findall(ANY_FENCE.sub("", text))]
        for line in [*lines, *inline]:
            command = line.removeprefix(".venv/bin/")
            shown = VALUE.sub(r"\1", command.partition("#")[0])
            if command.startswith(f"{program} ") and not PLACEHOLDER.search(shown):
                words = shlex.split(command, comments=True)[1:]
                yield name, list(takewhile(lambda word: word not in ("|", "&&"), words))


def test_every_block_is_valid_shell() -> None:
    for name, text in documents().items():
        for block in FENCE.findall(text):
            check = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
            assert check.returncode == 0, f"{name}: {check.stderr}{block}"


def test_every_documented_task_exists_with_its_options() -> None:
    # A copy, since the parser removes the help texts from the tasks.
    parser = Parser(contexts=copy.deepcopy(namespace).to_contexts(), initial=Program().initial_context)
    documented = list(commands("invoke"))
    assert len(documented) > 100, "the commands are not found"
    errors = []
    for name, arguments in documented:
        try:
            parser.parse_argv(arguments)
        except ParseError as error:
            if arguments[1:] or "required positional" not in str(error):  # a task may be named without them
                errors.append(f"{name}: invoke {shlex.join(arguments)}: {error}")
    assert errors == []


def test_every_task_has_an_example() -> None:
    text = documents()["docs/operations.md"]
    names = {name: (name, *aliases) for name, aliases in namespace.task_names.items()}
    missing = [
        name
        for name, calls in names.items()
        if not any(re.search(rf"\binvoke {re.escape(call)}(?![\w.-])", text) for call in calls)
    ]
    assert missing == []


def test_every_documented_session_exists() -> None:
    source = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    decorated = [node for node in source.body if isinstance(node, ast.FunctionDef) and node.decorator_list]
    sessions = {session_name(node) for node in decorated}
    documented = [(name, arguments) for name, arguments in commands("nox") if "-s" in arguments]
    assert len(documented) > 10, "the commands are not found"
    for name, arguments in documented:
        names = arguments[arguments.index("-s") + 1 : arguments.index("--") if "--" in arguments else None]
        assert set(names) <= sessions, f"{name}: nox {shlex.join(arguments)}"


def session_name(function: ast.FunctionDef) -> str:
    """The name in `@nox.session(name=…)`, else that of the function."""
    keywords = [each for node in function.decorator_list if isinstance(node, ast.Call) for each in node.keywords]
    names = [each.value.value for each in keywords if each.arg == "name" and isinstance(each.value, ast.Constant)]
    return str(names[0]) if names else function.name


def test_every_link_has_a_page_and_a_heading() -> None:
    for name, text in documents().items():
        for link in LINK.findall(FENCE.sub("", text)):
            if link.startswith(("http://", "https://", "<")):
                continue
            path, _, heading = link.partition("#")
            page = ((ROOT / name).parent / path).resolve() if path else ROOT / name
            assert page.exists(), f"{name}: {link}"
            if heading:
                assert heading in anchors(page.read_text(encoding="utf-8")), f"{name}: {link}"


def anchors(text: str) -> set[str]:
    """The anchors of a page: headings in lower case, dashes for spaces, without punctuation."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
