"""Recording which revision the whole stack runs with: an upgrade to it is complete, or undone."""

from __future__ import annotations

from dataclasses import replace

from toolkit.checkout.project import Project
from toolkit.checkout.upgrade_record import Record
from toolkit.operate.revision import Revision, read


def started(project: Project) -> None:
    """Record that the whole stack runs with the files of the checkout."""
    if (revision := read(project.root)) is not None:
        reached(project, revision)


def reached(project: Project, revision: Revision) -> None:
    """Record that the whole stack runs with the files of a revision: an upgrade to it is complete, or undone."""
    before = Record.load(project)
    live = "" if revision.changed else revision.commit
    upgrade = before.upgrade
    if upgrade and live == upgrade.target:
        upgrade = replace(upgrade, complete=True)
    elif upgrade and live == upgrade.source:
        upgrade = None
    if (after := replace(before, live=live, upgrade=upgrade)) != before:
        after.save(project)
