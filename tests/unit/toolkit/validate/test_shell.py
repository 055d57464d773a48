"""The parser of shell scripts: programs, words, conditions, files and variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.validate.shell import BUILTINS, Script, Write, parse

SCRIPTS = Path(__file__).resolve().parents[4] / "scripts" / "container"


def programs(script: Script, shell: str = "bash") -> list[str]:
    """The programs that a script starts, in order."""
    known = script.functions | BUILTINS[shell]
    return [call.words[0] for call in script.calls if call.words[0] not in known]


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.sh")), ids=lambda path: path.name)
def test_every_script_of_the_stack_parses(path: Path) -> None:
    script = parse(path.read_text(encoding="utf-8"))
    assert script.broken is None
    assert script.calls


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a | b && c || d; e & f", ["a", "b", "c", "d", "e", "f"]),
        ('x=$(a "$(b)") y=`c` d', ["d", "a", "b", "c"]),
        ("if a; then b; elif c; then d; else e; fi", ["a", "b", "c", "d", "e"]),
        ("until a; do b; done; for x in $(c); do d; done", ["a", "b", "c", "d"]),
        ("case $(a) in x) b ;; *) c ;; esac", ["a", "b", "c"]),
        ("(a); { b; }; ! c", ["a", "b", "c"]),
        ("f() { a; }\nf", ["a"]),
        ("a <<END\n$(b)\nEND", ["a", "b"]),
        ("a <(b) > >(c)", ["a", "b", "c"]),
        ("X=1 Y= a", ["a"]),
        ("exec a", ["a"]),
        ("exec 3<>/dev/tcp/x/1", []),
        ("command a; command -v b", ["a"]),
        ("timeout 2 a", ["timeout", "a"]),
        ("env X=1 a", ["env", "a"]),
        ("exec timeout 2 env X=1 a", ["timeout", "env", "a"]),
        ("# a\necho 'b' \"c\"", []),
        ("X=1\n# a\nexport Y=2\nb", ["b"]),
        ("/opt/bin/tool-$1.sh x", ["/opt/bin/tool-*.sh"]),
        ('"$0" x', ["*"]),
    ],
)
def test_programs_are_found(text: str, expected: list[str]) -> None:
    assert programs(parse(text)) == expected


def test_bash_builtins_are_programs_in_sh() -> None:
    script = parse("[[ -n x ]]\nmapfile -t y\nsource z\n[ -n x ]\n. z")
    assert programs(script, "sh") == ["[[", "mapfile", "source"]
    assert programs(script, "bash") == []


def test_calls_have_words_and_lines() -> None:
    script = parse('#!/usr/bin/env bash\na \'b c\' "d" $e x"$f" "$@"\n\nexec g - <<END\nEND\ng - --h\n')
    assert script.shell == "bash"
    assert [(call.words, call.line) for call in script.calls] == [
        (("a", "b c", "d", "*", "x*", "$@"), 2),
        (("g", "-"), 4),
        (("g", "-", "--h"), 6),
    ]


def test_calls_and_writes_have_conditions() -> None:
    script = parse(
        'if command -v a >/dev/null; then a; fi\nif [ -n "${B:-}" ]; then b >/b; else c >/c; fi\n'
        'if [ -n "$D" ] || e; then f >/f; fi'
    )
    guards = {call.words[0]: call.guard for call in script.calls}
    assert guards["a"] == {"a"}
    assert guards["b"] == {"$B"}
    assert guards["c"] == guards["f"] == frozenset()
    assert script.guarded == {"a"}
    assert Write("/b", 2, frozenset({"$B"})) in script.writes
    assert Write("/c", 2, frozenset()) in script.writes


def test_writes_and_exports_are_found() -> None:
    script = parse("a >/b 2>>/c </d >e\nexport F=1 G\nunset H\n")
    assert [write.path for write in script.writes] == ["/b", "/c"]
    assert script.exports == {"F", "G"}


@pytest.mark.parametrize("text", ["if a; then b\n", "a $(b\n", "case x in\n"])
def test_syntax_error_is_reported_with_its_line(text: str) -> None:
    assert parse(text).broken == 1
