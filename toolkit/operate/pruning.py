"""Frees the disk of leftovers of builds: unused images of this project, and the engine's build cache.

Images of other projects, and published images, which others may use, are never touched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.checkout.project import LOCAL, PULLED, Project
from toolkit.core import console
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Docker
from toolkit.images import images_of
from toolkit.operate.deploy.release import NAME, VARIABLE

NO_NAME = "<none>"
UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
SIZE_SECONDS = 180.0
"""The timeout of the engine's own count, which reads every layer."""


@dataclass(frozen=True)
class BuiltImage:
    """An image that was built for this project, with the bytes that only this image has."""

    id: str
    repository: str
    tag: str
    unique_bytes: float

    @property
    def reference(self) -> str:
        """Its name, or its id if a newer build has taken the name."""
        return self.id if NO_NAME in (self.repository, self.tag) else f"{self.repository}:{self.tag}"


@dataclass(frozen=True)
class Usage:
    """The unused images of this project, and the build cache of the engine."""

    images: Sequence[BuiltImage]
    cache_bytes: float

    @property
    def image_bytes(self) -> float:
        """The bytes that are free afterwards at least: layers that only these images share come on top."""
        return sum(image.unique_bytes for image in self.images)


def prune(project: Project, docker: Docker, *, yes: bool, keep_cache: bool = False) -> None:
    """Delete unneeded images of this project and the build cache, after confirmation.

    Raises:
        ToolkitError: the engine does not answer, it is not confirmed, or something was not deleted.
    """
    found = unneeded(project, docker)
    cache = 0.0 if keep_cache else found.cache_bytes
    if not found.images and not cache:
        console.say("nothing to delete: every image is needed, and there is no build cache")
        return
    parts = []
    if found.images:
        for image in found.images:
            console.say(f"  {image.reference}")
        size = _decimal(found.image_bytes)
        parts.append(f"{len(found.images)} unused images of {docker.project_name()} ({size} or more)")
    if cache:
        parts.append(f"the engine's build cache ({_decimal(cache)}), without which the next builds take longer")
    console.confirm(f"delete {' and '.join(parts)}", yes)
    kept = [image for image in found.images if docker("image", "rm", image.reference).code]
    if cache:
        docker.check(docker("builder", "prune", "--all", "--force"), "delete the build cache")
    freed = found.image_bytes - sum(image.unique_bytes for image in kept) + cache
    console.say(f"{len(found.images) - len(kept)} images deleted, {_decimal(freed)} or more freed", "ok")
    if kept:
        names = ", ".join(image.reference for image in kept)
        raise ToolkitError(f"{len(kept)} images were not deleted", f"in use meanwhile: {names}", "run this again later")


def unneeded(project: Project, docker: Docker) -> Usage:
    """The unused images that were built for this project, oldest release first.

    Needed are those of both image sets, of the live release and of the one before it, and of every container of any
    project, running or not.

    Raises:
        ToolkitError: the compose files cannot be read, or the engine does not answer.
    """
    label = f"label=com.docker.compose.project={docker.project_name()}"
    listed = docker.check(
        docker("image", "ls", "--no-trunc", "--filter", label, "--format", "{{.ID}}\t{{.Repository}}\t{{.Tag}}"),
        "list the images",
    )
    counted = docker("system", "df", "--verbose", "--format", "{{json .}}", timeout=SIZE_SECONDS)
    usage: Mapping[str, Any] = json.loads(docker.check(counted, "read the disk usage of the engine").stdout)
    unique = {each["ID"]: _bytes(each["UniqueSize"]) for each in usage.get("Images") or ()}
    built = [
        BuiltImage(identifier, repository, tag, unique.get(identifier, 0.0))
        for identifier, repository, tag in (line.split("\t") for line in listed.stdout.splitlines())
    ]
    used, named = _images_of_containers(docker), _named(project, docker) | _releases(project, built)
    needed = {image.id for image in built if image.reference in named} | used
    images = [image for image in built if image.id not in needed and not _is_former(image)]
    cache = sum(_bytes(each["Size"]) for each in usage.get("BuildCache") or () if each["InUse"] != "true")
    return Usage(sorted(images, key=lambda image: image.reference), cache)


def _images_of_containers(docker: Docker) -> set[str]:
    """The ids of the images of every container on the engine."""
    containers = docker.check(docker("ps", "--all", "--quiet", "--no-trunc"), "list the containers").stdout.split()
    return {container["Image"] for container in docker.inspect(*containers)}


def _named(project: Project, docker: Docker) -> set[str]:
    """The names of the images of both sets, for every group."""
    images = [
        image for chosen in (LOCAL, PULLED) for image in images_of(project, docker, chosen, groups=project.groups)
    ]
    return {name for image in images for name in (image.name, *image.bases)}


def _releases(project: Project, built: Sequence[BuiltImage]) -> set[str]:
    """The names of the live release and of the newest other one, to which a rollback leads."""
    live = project.env.get(VARIABLE)
    tags = sorted({image.tag for image in built if NAME.fullmatch(image.tag) and image.tag != live}, reverse=True)
    return {image.reference for image in built if image.tag in {live, *tags[:1]}}


def _is_former(image: BuiltImage) -> bool:
    """Whether a deploy keeps the image for its rollback (`toolkit.operate.deploy.release.retain`)."""
    return image.repository.endswith("-former")


def _bytes(text: str) -> float:
    """The bytes of a size as the engine prints it.

    Raises:
        ToolkitError: it is none.
    """
    match = re.fullmatch(r"([\d.]+)([kMGT]?B)", text)
    if not match:
        raise ToolkitError("cannot read the disk usage of the engine", f"'{text}' is not a size", "docker system df")
    return float(match[1]) * UNITS[match[2]]


def _decimal(size: float) -> str:
    from rich.filesize import decimal

    return decimal(int(size))
