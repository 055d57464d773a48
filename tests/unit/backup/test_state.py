"""The state survives crashes and concurrent processes; one backup or restore at a time."""

from __future__ import annotations

import multiprocessing
import threading
import time
from pathlib import Path

import pytest

from netmon_backup import state
from netmon_backup.errors import BackupError, BusyError


def add(data: Path, name: str) -> None:
    for number in range(50):
        state.update(data, failed={f"{name}{number}": "x"})


def test_updates_of_several_processes_are_all_kept(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=add, args=(tmp_path, name)) for name in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert len(state.load(tmp_path).failed) == 100


def test_values_are_merged_and_none_removes_one(tmp_path: Path) -> None:
    owner = state.load(tmp_path).owner
    state.update(tmp_path, failed={"a": "x", "b": "y"}, wal_bytes=3)
    found = state.update(tmp_path, failed={"a": None})
    assert found.failed == {"b": "y"}
    assert (found.wal_bytes, found.owner) == (3, owner)


def test_unknown_names_of_another_version_are_ignored(tmp_path: Path) -> None:
    state.load(tmp_path)
    (tmp_path / "state.json").write_text('{"owner": "o", "later": 1}')
    assert state.load(tmp_path).owner == "o"


def test_a_broken_state_is_not_replaced(tmp_path: Path) -> None:
    """A new owner's id would lose the claim of the repository."""
    state.load(tmp_path)
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(BackupError, match="cannot read"):
        state.load(tmp_path)


def test_a_second_run_is_refused_and_names_the_first(tmp_path: Path) -> None:
    second = pytest.raises(BusyError, match="cannot restore: in progress: take a backup")
    with state.exclusive(tmp_path, "take a backup"), second, state.exclusive(tmp_path, "restore"):
        pass
    with state.exclusive(tmp_path, "restore"):
        pass


def test_a_patient_run_waits_for_the_first(tmp_path: Path) -> None:
    state.load(tmp_path)
    holding, done = threading.Event(), []

    def hold() -> None:
        with state.exclusive(tmp_path, "take a backup"):
            holding.set()
            time.sleep(0.7)
            done.append("backup")

    thread = threading.Thread(target=hold)
    thread.start()
    assert holding.wait(5)
    with state.exclusive(tmp_path, "restore", patience=20):
        assert done == ["backup"]
    thread.join()
