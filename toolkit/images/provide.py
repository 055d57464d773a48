"""Complete an image set: pull or build missing images."""

from __future__ import annotations

from collections.abc import Iterable

from toolkit.checkout.project import PULLED, Project
from toolkit.core.console import say
from toolkit.core.errors import ToolkitError
from toolkit.core.files import exclusive
from toolkit.engine.compose import Docker
from toolkit.images import pulls
from toolkit.images.builds import build_images
from toolkit.images.choice import choose
from toolkit.images.sets import bases, images_of, missing_names, outstanding


def provide(project: Project, docker: Docker, profile: str | None = None, groups: Iterable[str] | None = None) -> None:
    """Pull or build the missing and stale images of the set in use; arguments as in `sets.images_of`.

    For a complete set this takes two calls of the engine and none of a registry.

    Raises:
        ToolkitError: no set was chosen yet, or an image cannot be pulled or built.
    """
    if project.images is None:
        raise ToolkitError("no image set was chosen yet", fix="run: invoke up")
    with exclusive(project.lock_file, "provide the images"):
        wanted = images_of(project, docker, project.images, profile, groups)
        needed = outstanding(docker, wanted)
        pulls.pull(project, docker, needed.pull)
        if needed.stale:
            names = ", ".join(image.name for image in needed.stale)
            say(f"  stale, built from an earlier state of this checkout: {names}", "dim")
        build_images(project, docker, needed.build, profile, groups)


def build(project: Project, docker: Docker, profile: str | None = None) -> None:
    """Build all images of the set in use that are built on this host; the local set, if none was chosen yet.

    Args:
        project: The checkout.
        docker: Docker in the project's folder.
        profile: Default: the profile in use.

    Raises:
        ToolkitError: an image cannot be pulled or built.
    """
    with exclusive(project.lock_file, "build the images"):
        chosen = project.images or choose(project, docker, "local", yes=False)
        built = [image for image in images_of(project, docker, chosen, profile) if image.built]
        pulls.pull(project, docker, missing_names(docker, bases(built)))
        build_images(project, docker, built, profile)


def pull(project: Project, docker: Docker) -> None:
    """Pull every published image of the stack and the base images of builds, whichever set is in use.

    Raises:
        ToolkitError: an image cannot be pulled.
    """
    with exclusive(project.lock_file, "pull the images"):
        images = images_of(project, docker, PULLED)
        pulls.pull(project, docker, [*(image.name for image in images if not image.built), *bases(images)])
