"""codespell as the session `lint` runs it: words and phrases of .codespell.txt are refused."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import noxfile

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = dict(line.split("->") for line in (ROOT / ".codespell.txt").read_text(encoding="utf-8").splitlines())


def codespell(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "codespell_lib", f"--regex={noxfile.word_pattern()}", str(file)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("calque", ["anew", "put aside", "Throws keys away"])  # codespell:ignore
def test_a_calque_in_a_copy_of_a_file_is_refused(tmp_path: Path, calque: str) -> None:
    copy = tmp_path / "noxfile.py"
    copy.write_text((ROOT / "noxfile.py").read_text(encoding="utf-8"), encoding="utf-8")
    assert codespell(copy).returncode == 0
    with copy.open("a", encoding="utf-8") as file:
        file.write(f"# {calque}\n")
    refused = codespell(copy)
    assert refused.returncode > 0
    assert f"{calque} ==> " in refused.stdout


def test_every_entry_is_found_with_its_replacement(tmp_path: Path) -> None:
    text = tmp_path / "text.md"
    text.write_text("\n".join(f"It {entry} here." for entry in ENTRIES), encoding="utf-8")
    found = [line.partition(": ")[2] for line in codespell(text).stdout.splitlines()]
    assert found == [f"{entry} ==> {replacement}" for entry, replacement in ENTRIES.items()]


def test_a_word_that_contains_an_entry_is_accepted(tmp_path: Path) -> None:
    text = tmp_path / "text.md"
    text.write_text("The timeout of the input asides is in forced, mendable and lestless.\n", encoding="utf-8")
    assert codespell(text).stdout == ""


def test_the_glossary_is_ignored_and_the_rest_of_its_document_is_checked(tmp_path: Path) -> None:
    document = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert "| put aside |" in document  # codespell:ignore
    copy = tmp_path / "CONTRIBUTING.md"
    copy.write_text(document, encoding="utf-8")
    assert codespell(copy).stdout == ""
    copy.write_text(f"{document}\nThe job is put aside.\n", encoding="utf-8")  # codespell:ignore
    assert codespell(copy).stdout.count("==>") == 1


def relative_clauses(source: str) -> list[str]:
    """The names of tests in a module that begin with a relative clause instead of a subject."""
    return re.findall(r"^(?:async )?def (test_(?:what|whatever|whoever)_\w+)", source, re.MULTILINE)


def test_names_of_tests_begin_with_their_subject() -> None:
    found = {path.name: relative_clauses(path.read_text("utf-8")) for path in (ROOT / "tests").rglob("test_*.py")}
    assert {name: names for name, names in found.items() if names} == {}
    assert relative_clauses("async def test_what_is_sent_arrives() -> None:") == ["test_what_is_sent_arrives"]
