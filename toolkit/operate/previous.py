"""Leftover containers of previous runs: refused if they belong to another folder, removed if nothing needs them."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.checkout import generated
from toolkit.checkout.project import Project
from toolkit.core import console
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Outcome
from toolkit.engine.compose import Docker
from toolkit.engine.existing import COMPOSE, Existing, Leftover, Listed, exists, foreign_error
from toolkit.engine.volumes import creation_times

UP = "run: invoke up, which removes it"


def require_own(existing: Existing) -> None:
    """Return if every container of the project belongs to this folder.

    Raises:
        ToolkitError: another folder has started some; the error names it, and the line that separates the checkouts.
    """
    for folder in existing.foreign:
        raise foreign_error(existing, folder)


def require_own_stack(project: Project, docker: Docker, *, settled: bool = False) -> None:
    """`require_own` for a task that changes a running stack; prints leftover containers.

    Args:
        project: The checkout.
        docker: Docker in its folder.
        settled: Nothing of another profile or image set may be left over.

    Raises:
        ToolkitError: see `require_own`; something is left over; or the engine does not answer.
    """
    existing = Existing.read(project, docker)
    require_own(existing)
    if settled and existing.switched:
        names = ", ".join(each.title for each in existing.switched)
        raise ToolkitError(f"{names} is left over", "a part of the stack does not belong to this checkout", UP)
    show(existing)


def take_over(existing: Existing, yes: bool) -> Sequence[Listed]:
    """The containers of folders that no longer exist, which are to be removed, after confirmation.

    Raises:
        ToolkitError: a container belongs to a folder that exists, or removal is not confirmed.
    """
    removed: list[Listed] = []
    for folder, containers in existing.foreign.items():
        refusal = foreign_error(existing, folder)
        if exists(folder):
            raise refusal
        gone = f"{folder}, which does not exist on this machine"
        action = f"replace the {len(containers)} containers of {existing.name} that were started in {gone}"
        console.confirm(action, yes, refusal)
        removed += containers
    return removed


def removable(existing: Existing, yes: bool) -> Sequence[Leftover]:
    """The leftovers that are to be removed: those of another profile or image set, and after confirmation, orphans.

    Raises:
        ToolkitError: the removal of orphans is not confirmed.
    """
    orphans = existing.orphans
    if orphans:
        names = ", ".join(each.title for each in orphans)
        console.confirm(f"remove the containers of services that are in no compose file: {names}", yes)
    return [*existing.switched, *orphans]


def remove(docker: Docker, leftovers: Sequence[Leftover], taken_over: Sequence[Listed] = ()) -> set[str]:
    """Stop and remove containers; their volumes are kept. Returns the names of the containers.

    Raises:
        ToolkitError: one of them was not removed.
    """
    found = [*(each for leftover in leftovers for each in leftover.containers), *taken_over]
    if not found:
        return set()
    identifiers = [each.id for each in dict.fromkeys(found)]
    docker.check(docker("stop", *identifiers), "stop the containers that are left over")
    docker.check(docker("rm", "--force", *identifiers), "remove the containers that are left over")
    for leftover in leftovers:
        console.say(f"  {leftover.title}: left over, stopped and removed; the volumes are kept")
    if taken_over:
        console.say(f"  {len(taken_over)} containers of the previous folder removed; the volumes are kept")
    return {each.name for each in found}


def remove_networks(docker: Docker) -> None:
    """Remove the networks of the project that the present files do not have; those still in use are kept.

    Raises:
        ToolkitError: Compose cannot read the files.
    """
    config = docker.effective()
    shown = f'{{{{.Name}}}}\t{{{{.Label "{COMPOSE}network"}}}}'
    listed = docker("network", "ls", "--filter", f"label={COMPOSE}project={config['name']}", "--format", shown)
    pairs = (line.split("\t") for line in listed.stdout.splitlines() if "\t" in line)
    if unused := [name for name, key in pairs if key not in config.get("networks", {})]:
        docker("network", "rm", *unused)


def doubtful_origin(project: Project, docker: Docker, volumes: Sequence[str]) -> str:
    """A remark for the deletion of volumes which this checkout has not created; empty if there is no sign of that.

    Raises:
        ToolkitError: the engine does not answer.
    """
    since = generated.since(project, "db")
    older = [name for name, at in creation_times(docker, volumes).items() if at < since] if since else []
    return f" (older than the passwords of this checkout: {', '.join(older)})" if older else ""


def show(existing: Existing) -> None:
    """Print the findings that are not ok."""
    for each in existing.findings():
        if each.outcome is not Outcome.OK:
            console.say(each.detail, each.outcome)


def refusal_to_remove(existing: Existing) -> ToolkitError | None:
    """The error for a stack that a folder which exists has started; None if this folder may remove it."""
    folder = next((each for each in existing.foreign if exists(each)), None)
    if folder is None:
        return None
    error = foreign_error(existing, folder)
    return ToolkitError(error.what, error.why, f"run invoke down in {folder}; or {error.fix}")
