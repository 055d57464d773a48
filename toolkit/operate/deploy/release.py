"""A release: the application's images under one name, and the settings that make it live."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from toolkit import images
from toolkit.checkout import bundled
from toolkit.checkout.project import Project
from toolkit.core.console import say
from toolkit.core.errors import ToolkitError
from toolkit.engine import compose, shapes
from toolkit.engine.compose import Docker
from toolkit.images import Image
from toolkit.operate import revision

VARIABLE = "NETMON_RELEASE"
"""The tag of the images built here. In .env it names the live release."""

APP, WORKER = "app", "worker"

NAME = re.compile(r"\d{8}-\d{6}(-[0-9a-f]+(-dirty)?)?")
VALID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True)
class Release:
    """A release. ``settings`` are the variables that select it, written to .env once it is verified.

    ``retained`` releases have images from an earlier deploy, which are neither built nor pulled.
    """

    name: str
    settings: Mapping[str, str]
    retained: bool = False

    @classmethod
    def plan(cls, project: Project, docker: Docker, name: str | None, image: str | None) -> Release:
        """The named release; without a name, a new release of the current checkout.

        Raises:
            ToolkitError: the name or the image is invalid (exit code 2).
        """
        if name and not VALID.fullmatch(name):
            raise ToolkitError(f"unknown release '{name}'", fix="docker image ls lists the local releases", code=2)
        if image and not is_built_elsewhere(project):
            why = "the application is built here, or APP_IMAGE is not set"
            raise ToolkitError("--image cannot be used", why, "set APP_IMAGE in .env first: invoke up", code=2)
        if project.env.get("APP_IMAGE") and project.env.get("APP_CONTEXT"):
            why = "APP_IMAGE gives every build of APP_CONTEXT the same name, so a rollback is impossible"
            raise ToolkitError("cannot deploy", why, "remove APP_IMAGE from .env, then run: invoke up")
        settings = {VARIABLE: name or new_name(docker)}
        return cls(settings[VARIABLE], settings | ({"APP_IMAGE": image} if image else {}), bool(name))

    def provide(self, project: Project, docker: Docker) -> None:
        """Pull or build the release's images.

        Raises:
            ToolkitError: an image cannot be pulled or built, or is no longer retained.
        """
        needed = images_of(project, docker)
        missing = images.missing(docker, needed)
        if self.retained and missing:
            names = ", ".join(image.name for image in missing)
            fix = "docker image ls lists the local releases"
            raise ToolkitError(f"release {self.name} not found", f"no local image {names}", fix)
        if not self.retained:
            built = [image for image in needed if image.built]
            if not self._take_from_bundle(project, docker, built):
                images.build_images(project, docker, built)
            for image in needed:
                if not image.built:
                    _pull_or_reuse(project, docker, image)

    def _take_from_bundle(self, project: Project, docker: Docker, built: Sequence[Image]) -> bool:
        """Give the images that came with the bundle of this checkout the name of the release; False without them.

        Raises:
            ToolkitError: the engine refuses.
        """
        here = revision.read(project.root)
        known = bundled.images(project.root, here.commit) if here and not here.changed else {}
        sources = {}
        for image in built:
            name = image.name.rpartition(":")[0]
            sources[image.name] = f"{name}:{bundled.TAG}"
            identifier = known.get(f"{name}:{bundled.RELEASE}")
            if identifier is None or docker.image_id(sources[image.name]) != identifier:
                return False
        label = f"--label=com.docker.compose.project={docker.project_name()}"
        for name, source in sources.items():
            # The release is in the image, as in one that is built.
            text = f"FROM {source}\nENV APP_VERSION={self.name}\n"
            options = ("--quiet", "--network=none", f"--tag={name}", label, "-")
            docker.check(docker("build", *options, stdin=text), f"name the image of the bundle {name}")
        return bool(sources)


def is_built_elsewhere(project: Project) -> bool:
    """Whether the application's image is built elsewhere."""
    return bool(project.env.get("APP_IMAGE")) and not project.env.get("APP_CONTEXT")


def new_name(docker: Docker) -> str:
    """A name that sorts by time and, in a git clone, contains the commit."""
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    try:
        described = compose.run(["git", "describe", "--always", "--dirty", "--exclude=*"], cwd=docker.root)
    except ToolkitError:
        return now
    commit = described.stdout.strip()
    return f"{now}-{commit}" if described.code == 0 and NAME.fullmatch(f"{now}-{commit}") else now


def services(docker: Docker) -> list[str]:
    """The services that a release replaces, in order.

    The worker comes before the application: the consumer must know a new format of jobs before the producer writes it.
    """
    config = docker.effective()["services"]
    own_services = [name for name in config if config[name]["image"] == config[WORKER]["image"]]
    return [WORKER, APP, *(name for name in own_services if name not in {WORKER, APP})]


def images_of(project: Project, docker: Docker) -> list[Image]:
    """The images of application and worker."""
    chosen = project.images
    if chosen is None:
        raise ToolkitError("no image set was chosen yet", fix="run: invoke up")
    return [image for image in images.images_of(project, docker, chosen) if {APP, WORKER} & set(image.services)]


def _pull_or_reuse(project: Project, docker: Docker, image: Image) -> None:
    try:
        images.pulls.pull(project, docker, [image.name])
    except ToolkitError as error:
        if images.missing(docker, [image]):
            raise
        say(f"  {image.name} cannot be pulled, using the local image: {error.why}")


def tags(containers: Iterable[shapes.Container]) -> dict[str, str]:
    """The name of each image that containers were started from → its id at that time; the tag may have moved since."""
    return {container["Config"]["Image"]: container["Image"] for container in containers}


def retain(docker: Docker, project: str, former: Mapping[str, str]) -> None:
    """Tag the images of the live release, so that pruning keeps them."""
    for number, identifier in enumerate(dict.fromkeys(former.values()), 1):
        docker("tag", identifier, f"{project}-former:{number}")


def restore(docker: Docker, former: Mapping[str, str]) -> None:
    """Restore the tags that a pull or a build has moved."""
    for name, identifier in former.items():
        if docker.image_id(name) not in {identifier, None}:
            docker.check(docker("tag", identifier, name), f"restore the tag {name}")


def prune(project: Project, docker: Docker, kept: Iterable[str]) -> None:
    """Remove the images of releases other than those ``kept``."""
    names = {image.name.rpartition(":")[0] for image in images_of(project, docker) if image.built}
    label = f"label=com.docker.compose.project={docker.project_name()}"
    for name in names:
        listed = docker("image", "ls", "--filter", f"reference={name}", "--filter", label, "--format", "{{.Tag}}")
        for tag in listed.stdout.split():
            if NAME.fullmatch(tag) and tag not in kept:
                docker("image", "rm", f"{name}:{tag}")  # fails for an image in use
