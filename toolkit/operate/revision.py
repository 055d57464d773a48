"""The commit of the checkout, by git: which one it is, what differs between two, and the change to another one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolkit.core.errors import ToolkitError
from toolkit.engine import compose

SHOWN = 3
CLEAN = "git stash removes the changes for now; files of your own belong in docker-compose.override.yml and .env"


@dataclass(frozen=True)
class Revision:
    """A commit, its name for people (the nearest tag), and the tracked files that have been changed since."""

    commit: str
    name: str
    changed: tuple[str, ...] = ()


def read(root: Path) -> Revision | None:
    """The revision of a checkout; None without git or outside a repository."""
    try:
        head = compose.run(["git", "rev-parse", "--verify", "HEAD"], cwd=root)
    except ToolkitError:
        return None
    if head.code:
        return None
    status = _git(root, "status", "--porcelain", "--untracked-files=no")
    commit = head.stdout.strip()
    return Revision(commit, name(root, commit), tuple(line[3:] for line in status.splitlines()))


def require_committed(root: Path, action: str) -> Revision:
    """The revision of a checkout without changes of its own, for an action that needs one.

    Raises:
        ToolkitError: it is no git repository, or tracked files were changed.
    """
    found = read(root)
    if found is None:
        raise ToolkitError(f"cannot {action}", f"{root} is not a git repository", "use a clone of the repository")
    if found.changed:
        more = f" and {len(found.changed) - SHOWN} more" if len(found.changed) > SHOWN else ""
        why = f"files of the checkout were changed: {', '.join(found.changed[:SHOWN])}{more}"
        raise ToolkitError(f"cannot {action}", why, CLEAN)
    return found


def name(root: Path, commit: str) -> str:
    """A commit for people: its tag, or the nearest one before it with the number of commits since."""
    return _git(root, "describe", "--tags", "--always", commit) or commit[:12]


def differing(root: Path, one: str, other: str) -> frozenset[str] | None:
    """The paths of the files that differ between two commits; None if one of them is unknown."""
    result = compose.run(["git", "diff", "--name-only", "-z", "--no-renames", one, other, "--"], cwd=root)
    return None if result.code else frozenset(filter(None, result.stdout.split("\0")))


def switch(root: Path, commit: str) -> None:
    """Change the files of the checkout to those of a commit; branches stay where they are.

    Raises:
        ToolkitError: the commit is unknown, or a file is in the way.
    """
    result = compose.run(["git", "checkout", "--quiet", "--detach", commit], cwd=root)
    if result.code:
        raise ToolkitError(f"cannot check out {commit[:12]}", " ".join(result.stderr.split()), "run: git fetch")


def _git(root: Path, *args: str) -> str:
    result = compose.run(["git", *args], cwd=root)
    return result.stdout.strip("\n") if result.code == 0 else ""
