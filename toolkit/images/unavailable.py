"""Services that the images in use do not have: named wherever services are shown, and never counted as working."""

from __future__ import annotations

from toolkit.checkout.project import LOCAL, PULLED, Project
from toolkit.checkout.setup import settings
from toolkit.core.console import say
from toolkit.engine.compose import Docker

REASON = "not in the local images: its alerts, panels and checks do not run here"


def services(project: Project, docker: Docker) -> list[str]:
    """The services that the published images would run here and the local ones do not, by name.

    Raises:
        ToolkitError: the compose files cannot be read.
    """
    if project.images != LOCAL:
        return []
    published = docker.effective(env={"COMPOSE_FILE": settings(project, images=PULLED)["COMPOSE_FILE"]})
    return sorted(published["services"].keys() - docker.effective()["services"].keys())


def show(project: Project, docker: Docker) -> None:
    """Print a line for each of them."""
    for name in services(project, docker):
        say(f"absent: {name}: {REASON}", "skipped")
