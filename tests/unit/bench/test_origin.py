"""The origin of a measurement: the commit with its state, and the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import origin
from bench.origin import GENERATED, Machine
from tests.unit.bench.conftest import git


def test_the_commit_is_dirty_if_code_differs_and_not_for_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "--quiet")
    for name in ("code", *GENERATED):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message=results")
    monkeypatch.setattr(origin, "CHECKOUT", tmp_path)
    head = git(tmp_path, "rev-parse", "--short=10", "HEAD").strip()
    assert origin.commit() == head
    for name in GENERATED:
        (tmp_path / name).write_text("changed")
    assert origin.commit() == head
    (tmp_path / "code").write_text("changed")
    assert origin.commit() == f"{head}-dirty"


def test_generated_files_exist() -> None:
    assert all((origin.CHECKOUT / name).is_file() for name in GENERATED)


def test_outside_a_repository_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin, "CHECKOUT", tmp_path)
    assert origin.commit() == ""


def test_this_machine_is_described_without_an_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    machine = Machine.this()
    assert machine.cores > 0
    assert machine.memory_gib > 0
    assert machine.processor
    assert machine.engine == ""
