"""The images that a set consists of, and which of them the engine lacks or has of another state of the checkout."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.checkout.project import LOCAL, PULLED, Project
from toolkit.checkout.setup import settings
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Docker, Result, explain
from toolkit.images import build_digest, image_lock

CHOICES = {"auto": None, "pull": PULLED, "local": LOCAL}


@dataclass(frozen=True)
class Image:
    """An image that services use; ``built`` where it is made here instead of pulled.

    ``source`` is the digest of what it is built from now; empty where the image may be of another state. ``bases`` are
    the published images that its build starts from.
    """

    name: str
    services: tuple[str, ...]
    built: bool
    source: str = ""
    bases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outstanding:
    """What a set lacks: names to pull, images to build, and those among the latter that are here, of another state."""

    pull: tuple[str, ...]
    build: tuple[Image, ...]
    stale: tuple[Image, ...]


def environment(
    project: Project, chosen: str | None, profile: str | None, groups: Iterable[str] | None
) -> dict[str, str]:
    """The variables that have Compose read the files of a set; arguments as of `images_of`."""
    wanted = settings(project, profile, images=chosen, groups=groups)
    return {
        name: wanted[name]
        for name in ("COMPOSE_FILE", "COMPOSE_PROFILES")
        if groups is not None or name == "COMPOSE_FILE"
    }


def images_of(
    project: Project, docker: Docker, chosen: str, profile: str | None = None, groups: Iterable[str] | None = None
) -> list[Image]:
    """The images that one set needs.

    Args:
        project: The checkout.
        docker: Its docker.
        chosen: The set, ``pulled`` or ``local``.
        profile: Default: the one of the set-up.
        groups: Those whose services count; default: those that are on.

    Raises:
        ToolkitError: the compose files cannot be read, or there is no such profile or group (exit code 2).
    """
    wanted, env = environment(project, chosen, profile, groups), {**project.env, **docker.env}
    in_use = wanted.items() <= env.items()
    config = docker.effective(env=None if in_use else wanted)
    # An image that is named for the application without a folder to build it from comes from elsewhere.
    foreign = None if env.get("APP_CONTEXT") else env.get("APP_IMAGE")
    release = env.get("NETMON_RELEASE")
    services: dict[str, list[str]] = {}
    built: dict[str, dict[str, Any]] = {}
    for name, service in config["services"].items():
        image = service["image"]
        services.setdefault(image, []).append(name)
        if "build" in service and (name, image) != ("app", foreign):
            built.setdefault(image, service["build"])

    def source(name: str) -> str:
        # A release stays what it was made of, whatever has become of the checkout.
        if name not in built or (release and name.endswith(f":{release}")):
            return ""
        try:
            return build_digest.digest(project.root, built[name], local=chosen == LOCAL)
        except OSError as error:
            raise ToolkitError(f"cannot read {error.filename}", error.strerror or str(error)) from error

    def starts(name: str) -> tuple[str, ...]:
        # Those of the local images are made by scripts/base-image.sh.
        arguments = {} if chosen == LOCAL else built.get(name, {}).get("args") or {}
        return tuple(value for key, value in arguments.items() if value and image_lock.names_image(key))

    return [Image(name, tuple(users), name in built, source(name), starts(name)) for name, users in services.items()]


def missing(docker: Docker, images: Sequence[Image]) -> list[Image]:
    """Those of ``images`` that the engine does not have.

    Raises:
        ToolkitError: the engine does not answer.
    """
    lacking = set(missing_names(docker, [image.name for image in images]))
    return [image for image in images if image.name in lacking]


def outstanding(docker: Docker, images: Sequence[Image]) -> Outstanding:
    """What has to be pulled and built, so that all of ``images`` are here and of the present state of the checkout.

    An image that is here needs no base: only what has to be built does.

    Raises:
        ToolkitError: the engine does not answer.
    """
    lacking, outdated = missing(docker, images), stale(docker, images)
    builds = [image for image in lacking if image.built] + outdated
    published = [image.name for image in lacking if not image.built]
    return Outstanding((*published, *missing_names(docker, bases(builds))), tuple(builds), tuple(outdated))


def bases(images: Iterable[Image]) -> list[str]:
    """The published images that builds start from."""
    return list(dict.fromkeys(base for image in images for base in image.bases))


def stale(docker: Docker, images: Sequence[Image]) -> list[Image]:
    """Those of ``images`` that the engine has and that were built from another state of the checkout.

    Raises:
        ToolkitError: the engine does not answer.
    """
    known_of = [image for image in images if image.source]
    if not known_of:
        return []
    found = json.loads(inspect(docker, *(image.name for image in known_of)).stdout or "[]")
    carried = {
        name: (each["Config"].get("Labels") or {}).get(build_digest.LABEL)
        for each in found
        for name in each["RepoTags"]
    }
    return [image for image in known_of if image.name in carried and carried[image.name] != image.source]


def ready(project: Project, docker: Docker) -> bool:
    """Whether a set was chosen and all of its images are here."""
    return project.images is not None and not missing(docker, images_of(project, docker, project.images))


def inspect(docker: Docker, *names: str) -> Result:
    """``docker image inspect``; its exit code is 1 where one of them is not here.

    Raises:
        ToolkitError: the engine does not answer.
    """
    result = docker("image", "inspect", *names)
    if result.code and "no such image" not in result.stderr.lower():
        raise explain("look for the images", result)
    return result


def missing_names(docker: Docker, names: Sequence[str]) -> list[str]:
    """Those of ``names`` that are no image of the engine.

    Raises:
        ToolkitError: the engine does not answer.
    """
    if not names or inspect(docker, *names).code == 0:
        return []
    return [name for name in names if inspect(docker, name).code]
