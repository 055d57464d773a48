"""Services that are unavailable with the image set in use; listed with the services, never counted as passed."""

from __future__ import annotations

from toolkit.checkout.project import LOCAL, PULLED, Project
from toolkit.checkout.setup import settings
from toolkit.core.console import say
from toolkit.engine.compose import Docker

REASON = "not in the local images; its alerts, panels and checks are skipped"


def services(project: Project, docker: Docker) -> list[str]:
    """The services of the pulled set that the local set in use lacks, sorted by name.

    Raises:
        ToolkitError: the compose files cannot be read.
    """
    if project.images != LOCAL:
        return []
    published = docker.effective(env={"COMPOSE_FILE": settings(project, images=PULLED)["COMPOSE_FILE"]})
    return sorted(published["services"].keys() - docker.effective()["services"].keys())


def show(project: Project, docker: Docker) -> None:
    """Print a line for each unavailable service."""
    for name in services(project, docker):
        say(f"unavailable: {name}: {REASON}", "skipped")
