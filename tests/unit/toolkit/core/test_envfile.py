"""The user's .env: read literally, updated without losing a line."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from toolkit.core import envfile
from toolkit.core.errors import ToolkitError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def test_a_missing_file_has_no_variables(path: Path) -> None:
    assert envfile.read(path) == {}


def test_values_are_literal(path: Path) -> None:
    path.write_text("# comment\nA=1\nexport B='two words'\nC=${A}x$y\nD=\n\nE # no value\n")
    assert envfile.read(path) == {"A": "1", "B": "two words", "C": "${A}x$y", "D": "", "E": ""}


def test_a_file_that_is_not_utf8_is_an_error(path: Path) -> None:
    path.write_bytes(b"A=\xff\n")
    with pytest.raises(ToolkitError, match=r"cannot read .*\.env"):
        envfile.read(path)


def test_a_new_file_has_a_header_and_is_private(path: Path) -> None:
    assert envfile.update(path, {"A": "1"})
    assert path.read_text() == envfile.HEADER + "A=1\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_update_preserves_lines_comments_and_order(path: Path) -> None:
    path.write_text("# mine\nB=2\n\n  export A = 1  # note\n#A=0\nZ=9")
    assert envfile.update(path, {"A": "one", "C": "3"})
    assert path.read_text() == "# mine\nB=2\n\nA=one\n#A=0\nZ=9\nC=3\n"


def test_update_changes_the_last_of_duplicate_variables(path: Path) -> None:
    path.write_text("A=1\nA=2\n")
    envfile.update(path, {"A": "3"})
    assert envfile.read(path) == {"A": "3"}


def test_update_without_a_change_does_not_write_the_file(path: Path) -> None:
    envfile.update(path, {"A": "1"})
    inode = path.stat().st_ino
    assert not envfile.update(path, {"A": "1"})
    assert path.stat().st_ino == inode
