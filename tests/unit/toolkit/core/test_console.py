"""Console output on a pipe, and confirmations."""

from __future__ import annotations

import pytest

from toolkit.core import console
from toolkit.core.errors import ToolkitError


def test_a_table_is_aligned_and_never_truncated(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300
    console.table(("name", "detail"), [("a", long), ("longer", "[bold]as it is[/bold]")], ["failed", ""])
    assert capsys.readouterr().out.splitlines() == [
        "name    detail",
        f"a       {long}",
        "longer  [bold]as it is[/bold]",
    ]


def test_a_phase_prints_its_duration_only_on_success(capsys: pytest.CaptureFixture[str]) -> None:
    with console.phase("images", "what it changes"):
        pass
    assert "images: 0.0 s" in capsys.readouterr().out
    with pytest.raises(ZeroDivisionError), console.phase("images", "what it changes"):
        raise ZeroDivisionError
    assert "images: " not in capsys.readouterr().out


def test_an_address_is_plain_on_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    console.address("http://127.0.0.1:3000", "the API")
    assert capsys.readouterr().out.split(maxsplit=1) == ["http://127.0.0.1:3000", "the API\n"]


@pytest.mark.parametrize(("answer", "confirmed"), [("y", True), ("YES", True), ("", False), ("no", False)])
def test_confirmation_at_the_prompt(monkeypatch: pytest.MonkeyPatch, answer: str, confirmed: bool) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _question: answer)
    if confirmed:
        console.confirm("delete it", yes=False)
    else:
        with pytest.raises(ToolkitError, match="cancelled: nothing was changed"):
            console.confirm("delete it", yes=False)


def test_confirmation_without_a_terminal_requires_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(ToolkitError, match="confirmation required to delete it") as raised:
        console.confirm("delete it", yes=False)
    assert "--yes" in raised.value.fix
    console.confirm("delete it", yes=True)


def test_confirmation_without_a_terminal_may_be_refused_with_a_reason_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refusal = ToolkitError("it belongs to somebody else", fix="ask them")
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(ToolkitError) as raised:
        console.confirm("delete it", yes=False, refusal=refusal)
    assert raised.value is refusal
    console.confirm("delete it", yes=True, refusal=refusal)


def test_end_of_input_at_the_prompt_cancels(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(_question: str) -> str:
        raise EOFError

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", end)
    with pytest.raises(ToolkitError, match="cancelled: nothing was changed"):
        console.confirm("delete it", yes=False)
