"""Choose between the two image sets.

The ``pulled`` set comes from registries, the ``local`` set is built on this host from packages. They are never mixed,
because their versions differ and one may be unable to read data that the other has written.
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
    """Choose the image set, print it if it changes, and record it in .env.

    Args:
        project: The checkout.
        docker: Docker in the project's folder.
        choice: ``pull``, ``local``, or ``auto``: the recorded set; else the set whose images exist; else ``pulled`` if
            a registry is reachable.
        yes: Allow switching image sets on existing volumes.

    Returns:
        ``pulled`` or ``local``.

    Raises:
        ToolkitError: the choice is unknown (exit code 2), or volumes exist that the other set may have written.
    """
    wanted = CHOICES[require_known("image set", choice, CHOICES)]
    with exclusive(project.lock_file, "choose the images"):
        recorded = project.images
        if recorded and (wanted == recorded or (wanted is None and (recorded == LOCAL or ready(project, docker)))):
            return recorded
        volumes = _volumes(docker)
        chosen, why = (wanted, "as requested") if wanted else _automatic(project, docker, volumes=bool(volumes))
        if chosen == recorded:
            return chosen
        if recorded and volumes and not yes:
            raise ToolkitError(
                f"refusing to use {chosen} images with volumes created by {recorded} images",
                "their versions differ, so the data may be unreadable",
                f"keep the {recorded} images, delete the data (invoke down --volumes), or accept the risk with --yes",
            )
        images_of(project, docker, chosen)  # a set with unreadable files is not recorded
        say(f"images: {chosen}, {why}")
        setup(project, None, images=chosen)
        return chosen


def _volumes(docker: Docker) -> list[str]:
    label = f"label=com.docker.compose.project={docker.project_name()}"
    listed = docker.check(docker("volume", "ls", "--quiet", "--filter", label), "list the volumes")
    return listed.stdout.split()


def _automatic(project: Project, docker: Docker, *, volumes: bool) -> tuple[str, str]:
    """The default set, and the reason for it."""
    if project.images and volumes:
        return project.images, "as before"
    images = images_of(project, docker, PULLED)
    complete = not outstanding(docker, images).pull
    if not volumes and complete:
        return PULLED, "already on this host"
    published = [image for image in images if not image.built]
    users = {service for image in published for service in image.services}
    local = [image for image in images_of(project, docker, LOCAL) if users.intersection(image.services)]
    if not volumes and not missing(docker, local):
        return LOCAL, "already on this host (invoke up --images=pull uses the published ones)"
    refusal = None if complete else _probe(project, docker, published)
    if refusal:
        return LOCAL, f"built on this host from packages, because {refusal}"
    if volumes:
        raise ToolkitError(
            "cannot determine which images created the volumes of this project",
            ".env records no image set, and both are available",
            "choose one: invoke up --images=pull, or invoke up --images=local",
        )
    return PULLED, "because the registry is reachable"


def _probe(project: Project, docker: Docker, images: Sequence[Image]) -> str | None:
    """The reason why no registry is usable, or None; pulls the smallest image to find out.

    Raises:
        ToolkitError: a registry answers and refuses the image, which the user has to resolve.
    """
    name = next((image.name for image in images if project.data["registry_probe"] in image.services), images[0].name)
    seconds = project.timeout("registry")
    say(f"images: probing the registry with a pull of {name} (timeout {seconds:g} s)", "dim")
    try:
        pulls.probe(project, docker, name, seconds)
    except PullError as error:
        if not error.unreachable:
            raise PullError(error.what, error.why, f"{error.fix}; or {BUILD_HERE}", error.cause) from error
        return error.why
    return None
