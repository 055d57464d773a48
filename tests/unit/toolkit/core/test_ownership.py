"""Files that root writes in the checkout of another account."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toolkit.core import files, ownership

OTHER = 12345

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of another account."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    os.chown(folder, OTHER, OTHER)
    return folder


def owner(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid


@as_root
def test_new_files_and_folders_belong_to_the_owner_of_their_folder(folder: Path) -> None:
    files.write_atomically(folder / "written", "x")
    files.create(folder / "created", "x")
    files.make_folder(folder / "sub", 0o700)
    with files.exclusive(folder / "locks" / "lock", "test"):
        pass
    for name in ("written", "created", "sub", "locks", "locks/lock"):
        assert owner(folder / name) == (OTHER, OTHER), name


@as_root
def test_replaced_file_keeps_its_owner(folder: Path) -> None:
    (folder / "file").write_text("old")
    os.chown(folder / "file", OTHER + 1, OTHER + 2)
    files.write_atomically(folder / "file", "new", 0o600)
    assert owner(folder / "file") == (OTHER + 1, OTHER + 2)
    assert (folder / "file").stat().st_mode & 0o777 == 0o600


def test_only_root_hands_files_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    monkeypatch.setattr(os, "chown", refuse)
    files.write_atomically(tmp_path / "file", "x")


@as_root
def test_owner_of_an_unusable_file_is_named(folder: Path) -> None:
    (folder / "mine").mkdir()
    assert ownership.foreign(folder / "missing" / "file") == (folder, str(OTHER))
    assert ownership.foreign(folder / "mine" / "file") is None
    fix = files.fix_for(PermissionError(13, "Permission denied"), folder / "file")
    assert fix == f"it belongs to {OTHER}: sudo chown -R root {folder}"


def test_account_without_a_name_is_a_number() -> None:
    assert ownership.name(0) == "root"
    assert ownership.name(987654) == "987654"
