"""What is accepted in .env is read in the same way by docker compose, by Python and by people."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolkit.core import envfile
from toolkit.core.envsyntax import BACKSLASH, CHARACTERS, COMMENT, DOLLAR, QUOTES, SYNTAX, Problem, assignments, written
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Docker

VALUES = st.text(st.sampled_from("ab1 $#'\"\\`=:{}[]!%&*()-,;<>?@^|~/+n.ü€✓\t\r\x0b\xa0\u2028\ufeff"), max_size=8)


def read_by_compose(folder: Path, text: str) -> dict[str, str]:
    """The variables of an .env file in a container, as docker compose passes them; it needs no engine for that."""
    names = [each[1] for each in assignments(text) if not isinstance(each, Problem)]
    service = {"image": "x", "environment": {name: f"${{{name}:-}}" for name in names}}
    (folder / "docker-compose.yml").write_text(json.dumps({"name": "x", "services": {"x": service}}))
    (folder / ".env").write_bytes(text.encode())
    environment = Docker(folder).effective()["services"]["x"]["environment"]
    return {name: (value or "").replace("$$", "$") for name, value in environment.items()}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(VALUES, min_size=100, max_size=200))
def test_accepted_values_are_read_in_the_same_way(tmp_path: Path, values: list[str]) -> None:
    lines = [f"V{number}={value}\n" for number, value in enumerate(values)]
    refused = {line for line in lines if any(isinstance(each, Problem) for each in assignments(line))}
    text = "".join(line for line in lines if line not in refused)
    accepted = {each[1]: each[2] for each in assignments(text) if not isinstance(each, Problem)}
    assert read_by_compose(tmp_path, text) == accepted
    assert dict(dotenv_values(stream=StringIO(text), interpolate=False)) == accepted


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(VALUES, min_size=50, max_size=100))
def test_written_values_arrive_unchanged(tmp_path: Path, values: list[str]) -> None:
    path = tmp_path / ".env"
    path.unlink(missing_ok=True)
    changes = {f"V{number}": value for number, value in enumerate(values) if written(value) is not None}
    envfile.update(path, changes)
    text = path.read_text(encoding="utf-8")
    assert envfile.read(path) == changes
    assert read_by_compose(tmp_path, text) == changes


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("X=x$HOME", DOLLAR), ("X=x$$q", DOLLAR), ("X=${DOMAIN}", DOLLAR), ('X="a$b"', DOLLAR),
        ("X='x$HOME y#z$$q'", ""), ("export X = a ", ""), ("X=a\r", ""),
        ("X=a # note", COMMENT), ("X= #note", COMMENT), ("X='a # b'", ""), ("X=a#b", ""),
        ("X='a' b", QUOTES), ("X='a", QUOTES), ("X='a' # b", QUOTES), ('X="', QUOTES), ("X=it's", ""),
        (r"X='a\\b'", BACKSLASH), (r'X="a\n"', BACKSLASH), (r"X=a\b", ""),
        ("X=a\tb", CHARACTERS), ("X=a\u00a0b", CHARACTERS), ("X=a\x00", CHARACTERS),
        ("X", SYNTAX), ("X: a", SYNTAX), ("1X=a", SYNTAX), ("\ufeffX=a", CHARACTERS),
        ("# X=$a", ""), ("   ", ""), ("", ""),
    ],
)  # fmt: skip
def test_rule(line: str, value: str) -> None:
    rules = [each.rule for each in assignments(f"A=1\n{line}\n") if isinstance(each, Problem)]
    assert rules == [value] * bool(value)


def test_problem_has_its_line_and_not_the_value() -> None:
    [_, problem, _] = assignments("A=1\n\nPASSWORD=geheim$x\nB=2\n")
    assert str(problem) == f"line 3: PASSWORD: {DOLLAR}"


def test_value_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    with pytest.raises(ToolkitError, match="X cannot be written"):
        envfile.update(path, {"X": "both ' and $"})
    assert not path.exists()
