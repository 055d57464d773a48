"""Which of the two sets a stack uses.

The ``pulled`` set comes from registries, the ``local`` set is built here from packages. A stack uses one of them as a
whole, because their versions differ and data written by one may not open in the other.
"""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.checkout.project import LOCAL, PULLED, Project
from toolkit.checkout.setup import setup
from toolkit.core.console import say
from toolkit.core.errors import ToolkitError, require_known
from toolkit.core.files import exclusive
from toolkit.engine.compose import Docker
from toolkit.images import pulls
from toolkit.images.failures import BUILD_HERE, PullError
from toolkit.images.sets import CHOICES, Image, images_of, missing, outstanding, ready


def choose(project: Project, docker: Docker, choice: str, yes: bool) -> str:
    """Settle which set the stack uses, say so where it changes, and record it in .env.

    Args:
        project: The checkout.
        docker: Its docker.
        choice: ``pull``, ``local``, or ``auto``: what was chosen before; else what is here already; else pulled, if
            a registry can be reached.
        yes: Put the other set on existing volumes.

    Returns:
        ``pulled`` or ``local``.

    Raises:
        ToolkitError: unknown choice (exit code 2), or volumes that the other set may have written.
    """
    wanted = CHOICES[require_known("image set", choice, CHOICES)]
    with exclusive(project.lock_file, "choose the images"):
        recorded = project.images
        if recorded and (wanted == recorded or (wanted is None and (recorded == LOCAL or ready(project, docker)))):
            return recorded
        volumes = _volumes(docker)
        chosen, why = (wanted, "as asked for") if wanted else _automatic(project, docker, volumes=bool(volumes))
        if chosen == recorded:
            return chosen
        if recorded and volumes and not yes:
            raise ToolkitError(
                f"the {chosen} images are not put on volumes that the {recorded} ones have written",
                "their versions differ, so the data may not open",
                f"keep the {recorded} images, remove the data (invoke down --volumes), or take the risk with --yes",
            )
        images_of(project, docker, chosen)  # what cannot be read is not recorded
        say(f"images: {chosen}, {why}")
        setup(project, None, images=chosen)
        return chosen


def _volumes(docker: Docker) -> list[str]:
    label = f"label=com.docker.compose.project={docker.project_name()}"
    listed = docker.check(docker("volume", "ls", "--quiet", "--filter", label), "list the volumes")
    return listed.stdout.split()


def _automatic(project: Project, docker: Docker, *, volumes: bool) -> tuple[str, str]:
    """The set that is used where none was asked for, and why."""
    if project.images and volumes:
        return project.images, "as before"
    images = images_of(project, docker, PULLED)
    here = not outstanding(docker, images).pull
    if not volumes and here:
        return PULLED, "because they are here already"
    published = [image for image in images if not image.built]
    users = {service for image in published for service in image.services}
    local = [image for image in images_of(project, docker, LOCAL) if users.intersection(image.services)]
    if not volumes and not missing(docker, local):
        return LOCAL, "because they are here already (invoke up --images=pull takes the published ones)"
    refusal = None if here else _probe(project, docker, published)
    if refusal:
        return LOCAL, f"built here from packages, because {refusal}"
    if volumes:
        raise ToolkitError(
            "cannot tell which images wrote the volumes of this project",
            ".env records none, and both are possible",
            "name them: invoke up --images=pull, or invoke up --images=local",
        )
    return PULLED, "because the registry can be reached"


def _probe(project: Project, docker: Docker, images: Sequence[Image]) -> str | None:
    """Why no registry can be used, or None; pulls the smallest of the images to find out.

    Raises:
        ToolkitError: a registry answers and refuses the image, which is for the user to settle.
    """
    name = next((image.name for image in images if project.data["registry_probe"] in image.services), images[0].name)
    seconds = project.timeout("registry")
    say(f"images: asking the registry for {name} (at most {seconds:g} s)", "dim")
    try:
        pulls.probe(project, docker, name, seconds)
    except PullError as error:
        if not error.unreachable:
            raise PullError(error.what, error.why, f"{error.fix}; or {BUILD_HERE}", error.cause) from error
        return error.why
    return None
