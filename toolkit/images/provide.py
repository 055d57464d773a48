"""Making a set complete: what is missing is pulled or built."""

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
    """Pull or build what the set in use lacks or has of an earlier state; arguments as of `sets.images_of`.

    A set that is complete costs two looks, and no registry is asked.

    Raises:
        ToolkitError: no set was chosen yet, or an image cannot be made available.
    """
    if project.images is None:
        raise ToolkitError("no images were chosen yet", fix="run: invoke up")
    with exclusive(project.lock_file, "provide the images"):
        wanted = images_of(project, docker, project.images, profile, groups)
        lacking = outstanding(docker, wanted)
        pulls.pull(project, docker, lacking.pull)
        if lacking.stale:
            names = ", ".join(image.name for image in lacking.stale)
            say(f"  of an earlier state of this checkout: {names}", "dim")
        build_images(project, docker, lacking.build, profile, groups)


def build(project: Project, docker: Docker, profile: str | None = None) -> None:
    """Build, through the builder's cache, everything of the set in use that is built here; local, if none was chosen.

    For a profile; default: the one of the set-up.

    Raises:
        ToolkitError: an image cannot be made available.
    """
    with exclusive(project.lock_file, "build the images"):
        chosen = project.images or choose(project, docker, "local", yes=False)
        built = [image for image in images_of(project, docker, chosen, profile) if image.built]
        pulls.pull(project, docker, missing_names(docker, bases(built)))
        build_images(project, docker, built, profile)


def pull(project: Project, docker: Docker) -> None:
    """Pull every published image of the stack and those that builds start from, whichever set is in use.

    Raises:
        ToolkitError: an image cannot be pulled.
    """
    with exclusive(project.lock_file, "pull the images"):
        images = images_of(project, docker, PULLED)
        pulls.pull(project, docker, [*(image.name for image in images if not image.built), *bases(images)])
