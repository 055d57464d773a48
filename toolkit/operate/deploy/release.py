"""A release: the images of the application under one name, and the settings that put it in force."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from toolkit import images
from toolkit.checkout.project import Project
from toolkit.core.console import say
from toolkit.core.errors import ToolkitError
from toolkit.engine import compose
from toolkit.engine.compose import Docker
from toolkit.images import Image

VARIABLE = "NETMON_RELEASE"
"""The tag of the images that are built here. In .env it names the release that is in force."""

APP, WORKER = "app", "worker"

NAME = re.compile(r"\d{8}-\d{6}(-[0-9a-f]+(-dirty)?)?")
VALID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True)
class Release:
    """What is deployed. ``settings`` are the variables that select it: in .env once it has proven itself.

    ``retained`` is one whose images are here from an earlier deploy: they are neither built nor pulled.
    """

    name: str
    settings: Mapping[str, str]
    retained: bool = False

    @classmethod
    def plan(cls, project: Project, docker: Docker, name: str | None, image: str | None) -> Release:
        """The release that was asked for; without a name, a new one of the present state of the checkout.

        Raises:
            ToolkitError: the name or the image cannot be used (exit code 2).
        """
        if name and not VALID.fullmatch(name):
            raise ToolkitError(f"unknown release '{name}'", fix="docker image ls names those that are here", code=2)
        if image and not is_foreign(project):
            why = "the application is built here, or APP_IMAGE is not set"
            raise ToolkitError("--image is refused", why, "set APP_IMAGE in .env first: invoke up", code=2)
        if project.env.get("APP_IMAGE") and project.env.get("APP_CONTEXT"):
            why = "APP_IMAGE gives every build of APP_CONTEXT the same name, so that there is none to go back to"
            raise ToolkitError("cannot deploy", why, "remove APP_IMAGE from .env, then run: invoke up")
        settings = {VARIABLE: name or new_name(docker)}
        return cls(settings[VARIABLE], settings | ({"APP_IMAGE": image} if image else {}), bool(name))

    def provide(self, project: Project, docker: Docker) -> None:
        """Pull or build its images.

        Raises:
            ToolkitError: one cannot be made available.
        """
        wanted = images_of(project, docker)
        lacking = images.missing(docker, wanted)
        if self.retained and lacking:
            names = ", ".join(image.name for image in lacking)
            raise ToolkitError(f"there is no release {self.name}", f"{names} is not here",
                               "docker image ls names those that are here")  # fmt: skip
        if not self.retained:
            images.build_images(project, docker, [image for image in wanted if image.built])
            for image in wanted:
                if not image.built:
                    _pull(project, docker, image)


def is_foreign(project: Project) -> bool:
    """Whether the application is an image that is made elsewhere."""
    return bool(project.env.get("APP_IMAGE")) and not project.env.get("APP_CONTEXT")


def new_name(docker: Docker) -> str:
    """A name that sorts by time and, in a clone, says which commit it is of."""
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    try:
        described = compose.run(["git", "describe", "--always", "--dirty", "--exclude=*"], cwd=docker.root)
    except ToolkitError:
        return now
    commit = described.stdout.strip()
    return f"{now}-{commit}" if described.code == 0 and NAME.fullmatch(f"{now}-{commit}") else now


def services(docker: Docker) -> list[str]:
    """The services that a release replaces, in that order.

    The worker comes before the application: who reads the jobs has to know a new form of them before anybody writes it.
    """
    config = docker.effective()["services"]
    ours = [name for name in config if config[name]["image"] == config[WORKER]["image"]]
    return [WORKER, APP, *(name for name in ours if name not in {WORKER, APP})]


def images_of(project: Project, docker: Docker) -> list[Image]:
    """The images of application and worker."""
    chosen = project.images
    if chosen is None:
        raise ToolkitError("no images were chosen yet", fix="run: invoke up")
    return [image for image in images.images_of(project, docker, chosen) if {APP, WORKER} & set(image.services)]


def _pull(project: Project, docker: Docker, image: Image) -> None:
    try:
        images.pulls.pull(project, docker, [image.name])
    except ToolkitError as error:
        if images.missing(docker, [image]):
            raise
        say(f"  {image.name} is taken as it is here, since it cannot be pulled: {error.why}")


def tags(containers: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The name of each image that containers were started from → its id then; a name may mean another image by now."""
    return {container["Config"]["Image"]: container["Image"] for container in containers}


def retain(docker: Docker, project: str, former: Mapping[str, str]) -> None:
    """Give the images of the release in force a name of their own, so that nothing removes them."""
    for number, identifier in enumerate(dict.fromkeys(former.values()), 1):
        docker("tag", identifier, f"{project}-former:{number}")


def restore(docker: Docker, former: Mapping[str, str]) -> None:
    """Let the names of images mean again what they meant before a pull or a build."""
    for name, identifier in former.items():
        if docker.image_id(name) not in {identifier, None}:
            docker.check(docker("tag", identifier, name), f"take back the image {name}")


def forget(project: Project, docker: Docker, kept: Iterable[str]) -> None:
    """Remove the images of releases other than those ``kept``."""
    names = {image.name.rpartition(":")[0] for image in images_of(project, docker) if image.built}
    label = f"label=com.docker.compose.project={docker.project_name()}"
    for name in names:
        listed = docker("image", "ls", "--filter", f"reference={name}", "--filter", label, "--format", "{{.Tag}}")
        for tag in listed.stdout.split():
            if NAME.fullmatch(tag) and tag not in kept:
                docker("image", "rm", f"{name}:{tag}")  # one that is in use stays
