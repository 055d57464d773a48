"""The commit of a checkout, with the real git."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from toolkit.core.errors import ToolkitError
from toolkit.operate import revision


def git(root: Path, *args: str) -> str:
    """The output of a git command with an identity of its own."""
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *args], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(root: Path, **files: str) -> str:
    """Commit files; returns the commit."""
    for name, text in files.items():
        (root / name).write_text(text)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "change")
    return git(root, "rev-parse", "HEAD")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a tagged commit."""
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    commit(tmp_path, a="1", b="1")
    git(tmp_path, "tag", "v1.0.0")
    return tmp_path


def test_a_committed_checkout(root: Path) -> None:
    (root / "untracked").write_text("")
    found = revision.require_committed(root, "upgrade")
    assert (found.commit, found.name, found.changed) == (git(root, "rev-parse", "HEAD"), "v1.0.0", ())


def test_changed_files_are_named(root: Path) -> None:
    (root / "a").write_text("2")
    git(root, "rm", "--quiet", "b")
    found = revision.read(root)
    assert found
    assert set(found.changed) == {"a", "b"}
    with pytest.raises(ToolkitError) as error:
        revision.require_committed(root, "upgrade")
    assert "a" in error.value.why
    assert "git stash" in error.value.fix


def test_a_folder_without_a_repository_is_refused(tmp_path: Path) -> None:
    assert revision.read(tmp_path) is None
    with pytest.raises(ToolkitError, match="cannot upgrade") as error:
        revision.require_committed(tmp_path, "upgrade")
    assert "not a git repository" in error.value.why


def test_the_files_that_differ(root: Path) -> None:
    first, second = git(root, "rev-parse", "HEAD"), commit(root, b="2", c="1")
    assert revision.differing(root, first, second) == frozenset({"b", "c"})
    assert revision.differing(root, second, second) == frozenset()
    assert revision.differing(root, "0" * 40, second) is None


def test_another_commit_is_checked_out_and_branches_stay(root: Path) -> None:
    first, second = git(root, "rev-parse", "HEAD"), commit(root, a="2")
    revision.switch(root, first)
    assert (root / "a").read_text() == "1"
    assert git(root, "rev-parse", "main") == second
    with pytest.raises(ToolkitError, match="cannot check out 000000000000"):
        revision.switch(root, "0" * 40)


def test_a_file_in_the_way_is_an_error(root: Path) -> None:
    first = git(root, "rev-parse", "HEAD")
    git(root, "rm", "--quiet", "a")
    second = commit(root)
    (root / "a").write_text("mine")
    with pytest.raises(ToolkitError, match="cannot check out") as error:
        revision.switch(root, first)
    assert "would be overwritten" in error.value.why
    assert git(root, "rev-parse", "HEAD") == second
    assert (root / "a").read_text() == "mine"
