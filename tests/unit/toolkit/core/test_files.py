"""Atomic file updates, and locks between runs."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.core import files
from toolkit.core.errors import ToolkitError


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk without space."""

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_file_is_replaced_with_its_permissions(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    files.write_atomically(path, "new", mode=mode)
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("write", [files.write_atomically, files.create])
def test_a_full_disk_leaves_no_partial_file(tmp_path: Path, write: object) -> None:
    path = tmp_path / "file"
    assert callable(write)
    with pytest.raises(ToolkitError, match="No space left") as error:
        write(path, "text")
    assert "free disk space" in error.value.fix
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_preserves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ToolkitError):
        files.write_atomically(path, "new")
    assert path.read_text() == "old"


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, list[str]]]:
    """What was synced, in order: each with the names in its folder, or in itself, at that time."""
    found: list[tuple[Path, list[str]]] = []
    sync = os.fsync

    def record(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        folder = path if path.is_dir() else path.parent
        found.append((path, sorted(each.name for each in folder.iterdir())))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    return found


@pytest.mark.parametrize("write", [files.write_atomically, files.create])
def test_the_folder_is_synced_after_the_file_has_its_name(
    tmp_path: Path, synced: list[tuple[Path, list[str]]], write: Callable[[Path, str], None]
) -> None:
    write(tmp_path / "journal", "text")
    (file, _), (folder, names) = synced
    assert file.parent == folder == tmp_path
    assert "journal" in names


def test_the_folder_is_synced_after_a_file_was_removed_or_renamed(
    tmp_path: Path, synced: list[tuple[Path, list[str]]]
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).touch()
    files.remove(tmp_path / "a")
    files.rename(tmp_path / "b", tmp_path / "c")
    files.remove(tmp_path / "a")
    assert synced == [(tmp_path, ["b"]), (tmp_path, ["c"]), (tmp_path, ["c"])]


@pytest.mark.parametrize(("number", "is_error"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_a_folder_that_cannot_be_synced_is_an_error_of_the_disk_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_error: bool
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    if is_error:
        with pytest.raises(ToolkitError, match="cannot write"):
            files.remove(tmp_path / "file")
    else:
        files.remove(tmp_path / "file")


def test_create_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.create(path, "first")
    with pytest.raises(ToolkitError, match="exists"):
        files.create(path, "second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_temporary_files_of_one_file_are_removed(tmp_path: Path) -> None:
    for name in (".file.abc", ".file2.abc", "file", ".file"):
        (tmp_path / name).write_text("")
    files.remove_temporaries(tmp_path / "file")
    assert {path.name for path in tmp_path.iterdir()} == {".file2.abc", "file", ".file"}


def test_a_lock_held_by_another_run_is_an_error(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ToolkitError, match="cannot dance: another run"), files.exclusive(lock, "dance"):
            pytest.fail("the lock was acquired twice")
    with files.exclusive(lock, "dance"):
        pass


def test_a_lock_is_reentrant_and_released_by_the_outermost_block(tmp_path: Path) -> None:
    lock = tmp_path / "folder" / "lock"
    with files.exclusive(lock, "dance"):
        with files.exclusive(lock, "turn"):
            pass
        with lock.open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with lock.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_lock_file_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(ToolkitError, match="cannot write"), files.exclusive(tmp_path / "folder" / "lock", "dance"):
        pytest.fail("the lock file cannot exist")
