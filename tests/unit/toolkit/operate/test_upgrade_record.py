"""The record of upgrades on disk."""

from __future__ import annotations

import pytest

from toolkit.checkout.project import Project
from toolkit.checkout.upgrade_record import Record, Upgrade, path
from toolkit.core import files
from toolkit.core.errors import ToolkitError
from toolkit.operate import live_revision
from toolkit.operate.revision import Revision

ONE, TWO = Revision("1" * 40, "v1"), Revision("2" * 40, "v2")
BEGUN = Upgrade(ONE.commit, TWO.commit, "dev", {"db": "postgres:18.6"})


@pytest.fixture(autouse=True)
def _folder(project: Project) -> None:
    files.make_folder(project.lock_file.parent)


def test_a_saved_record_is_loaded(project: Project) -> None:
    assert Record.load(project) == Record()
    Record(ONE.commit, BEGUN).save(project)
    assert Record.load(project) == Record(ONE.commit, BEGUN)
    Record(ONE.commit, BEGUN, ("a",), ("b", "c"), "now").save(project)
    assert Record.load(project) == Record(ONE.commit, BEGUN, ("a",), ("b", "c"), "now")


def test_the_record_of_an_earlier_release_is_loaded(project: Project) -> None:
    path(project).write_text('{"live": "x", "upgrade": null}')
    assert Record.load(project) == Record("x")


def test_an_upgrade_is_complete_at_its_target(project: Project) -> None:
    Record(ONE.commit, BEGUN).save(project)
    live_revision.reached(project, TWO)
    found = Record.load(project)
    assert found.live == TWO.commit
    assert found.upgrade
    assert found.upgrade.complete


def test_an_upgrade_is_undone_at_its_source(project: Project) -> None:
    Record(TWO.commit, BEGUN).save(project)
    live_revision.reached(project, ONE)
    assert Record.load(project) == Record(ONE.commit)


def test_another_commit_leaves_the_way_back(project: Project) -> None:
    Record(TWO.commit, BEGUN).save(project)
    live_revision.reached(project, Revision("3" * 40, "v3"))
    assert Record.load(project) == Record("3" * 40, BEGUN)


def test_changed_files_make_the_commit_unknown(project: Project) -> None:
    Record(ONE.commit, BEGUN).save(project)
    live_revision.reached(project, Revision(TWO.commit, "v2", ("app/netmon/worker.py",)))
    assert Record.load(project) == Record("", BEGUN)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"live": ""}', '{"live": "", "upgrade": {"from": "x"}}'])
def test_another_file_is_an_error_with_a_fix(project: Project, text: str) -> None:
    Record().save(project)
    path(project).write_text(text)
    with pytest.raises(ToolkitError) as error:
        Record.load(project)
    assert error.value.fix == f"rm {path(project)}"
