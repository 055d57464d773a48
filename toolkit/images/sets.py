"""The images of a set, and which of them are missing from the engine or stale."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.checkout.project import LOCAL, PULLED, Project
from toolkit.checkout.setup import settings
from toolkit.core.errors import ToolkitError
from toolkit.engine import shapes
from toolkit.engine.compose import Docker, Result, explain
from toolkit.images import build_digest, image_lock

CHOICES = {"auto": None, "pull": PULLED, "local": LOCAL}


@dataclass(frozen=True)
class Image:
    """An image of one or more services; ``built`` on this host or else pulled.

    ``source`` is its current build digest; empty if the image is allowed to be stale. ``bases`` are the published base
    images of its build.
    """

    name: str
    services: tuple[str, ...]
    built: bool
    source: str = ""
    bases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outstanding:
    """The missing part of a set: names to pull, images to build, and those of the latter that exist but are stale."""

    pull: tuple[str, ...]
    build: tuple[Image, ...]
    stale: tuple[Image, ...]


def environment(
    project: Project, chosen: str | None, profile: str | None, groups: Iterable[str] | None
) -> dict[str, str]:
    """The variables with which Compose reads the files of a set; arguments as in `images_of`."""
    wanted = settings(project, profile, images=chosen, groups=groups)
    return {
        name: wanted[name]
        for name in ("COMPOSE_FILE", "COMPOSE_PROFILES")
        if groups is not None or name == "COMPOSE_FILE"
    }


def images_of(
    project: Project, docker: Docker, chosen: str, profile: str | None = None, groups: Iterable[str] | None = None
) -> list[Image]:
    """The images of a set.

    Args:
        project: The checkout.
        docker: Docker in the project's folder.
        chosen: The set, ``pulled`` or ``local``.
        profile: Default: the profile in use.
        groups: Include the services of these groups; default: the groups that are on.

    Raises:
        ToolkitError: the compose files cannot be read, or the profile or a group is unknown (exit code 2).
    """
    wanted, env = environment(project, chosen, profile, groups), {**project.env, **docker.env}
    in_use = wanted.items() <= env.items()
    config = docker.effective(env=None if in_use else wanted)
    # APP_IMAGE without APP_CONTEXT is an application's image that is not built here.
    external = None if env.get("APP_CONTEXT") else env.get("APP_IMAGE")
    release = env.get("NETMON_RELEASE")
    services: dict[str, list[str]] = {}
    built: dict[str, shapes.Build] = {}
    for name, service in config["services"].items():
        image = service["image"]
        services.setdefault(image, []).append(name)
        if "build" in service and (name, image) != ("app", external):
            built.setdefault(image, service["build"])

    def source(name: str) -> str:
        # A release never becomes stale: it is independent of the current state of the checkout.
        if name not in built or (release and name.endswith(f":{release}")):
            return ""
        try:
            return build_digest.digest(project.root, built[name], local=chosen == LOCAL)
        except OSError as error:
            raise ToolkitError(f"cannot read {error.filename}", error.strerror or str(error)) from error

    def base_images(name: str) -> tuple[str, ...]:
        # The bases of the local images are built by scripts/base-image.sh.
        arguments = {} if chosen == LOCAL else (built[name].get("args") if name in built else None) or {}
        return tuple(value for key, value in arguments.items() if value and image_lock.names_image(key))

    return [
        Image(name, tuple(users), name in built, source(name), base_images(name)) for name, users in services.items()
    ]


def missing(docker: Docker, images: Sequence[Image]) -> list[Image]:
    """The images that the engine does not have.

    Raises:
        ToolkitError: the engine does not answer.
    """
    absent = set(missing_names(docker, [image.name for image in images]))
    return [image for image in images if image.name in absent]


def outstanding(docker: Docker, images: Sequence[Image]) -> Outstanding:
    """The pulls and builds that complete a set: missing images, stale images, and missing bases of these builds.

    Raises:
        ToolkitError: the engine does not answer.
    """
    names = [image.name for image in images]
    result = inspect(docker, *names)
    without = {name for name in names if inspect(docker, name).code} if result.code else set[str]()
    absent = [image for image in images if image.name in without]
    outdated = _stale(images, json.loads(result.stdout or "[]"))
    builds = [image for image in absent if image.built] + outdated
    published = [image.name for image in absent if not image.built]
    return Outstanding((*published, *missing_names(docker, bases(builds))), tuple(builds), tuple(outdated))


def bases(images: Iterable[Image]) -> list[str]:
    """The published base images of builds, without duplicates."""
    return list(dict.fromkeys(base for image in images for base in image.bases))


def _stale(images: Sequence[Image], found: Sequence[Mapping[str, Any]]) -> list[Image]:
    """The images that the engine has, but that were built from another state of the checkout."""
    labels = {
        name: (each["Config"].get("Labels") or {}).get(build_digest.LABEL)
        for each in found
        for name in each.get("RepoTags") or ()
    }
    return [image for image in images if image.source and image.name in labels and labels[image.name] != image.source]


def ready(project: Project, docker: Docker) -> bool:
    """Whether a set is chosen and complete."""
    return project.images is not None and not missing(docker, images_of(project, docker, project.images))


def inspect(docker: Docker, *names: str) -> Result:
    """``docker image inspect``; its exit code is 1 if an image does not exist.

    Raises:
        ToolkitError: the engine does not answer.
    """
    result = docker("image", "inspect", *names)
    if result.code and "no such image" not in result.stderr.lower():
        raise explain("inspect the images", result)
    return result


def missing_names(docker: Docker, names: Sequence[str]) -> list[str]:
    """The names of images that the engine does not have.

    Raises:
        ToolkitError: the engine does not answer.
    """
    if not names or inspect(docker, *names).code == 0:
        return []
    return [name for name in names if inspect(docker, name).code]
