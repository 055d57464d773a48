"""Fill a registry with the published images, or with replacements, under the published names and tags.

Names and tags are those of the effective configuration. If this machine uses the published images, the registry serves
them unchanged. If it uses the local images, the registry serves the target of tests/fixtures/published/ or
tests/fixtures/standins/ with the same name, else the local image that replaces the published one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.checkout.project import LOCAL, Project
from toolkit.engine.compose import Docker

FIXTURES = Path(__file__).parents[1] / "fixtures"
FOLDERS = (FIXTURES / "published", FIXTURES / "standins")
MIRRORS = ("REGISTRY", "REGISTRY_QUAY")
"""The variables that name a registry in the compose files."""
NOWHERE = "registry.invalid/"
"""Marks the images that are pulled from a registry."""
TARGET = re.compile(r"^FROM \S+ AS (\S+)$", re.MULTILINE)

Place = tuple[str, ...]
"""A service and, where a build starts from the image, the argument that names it."""


@dataclass(frozen=True)
class Published:
    """A repository with a tag, and the image of this machine that the registry serves as it."""

    name: str
    source: str


def published(project: Project, docker: Docker) -> list[Published]:
    """Every image that a profile of the checkout pulls from a registry, including disabled groups.

    The checkout must be set up with the image set of this machine.

    Raises:
        LookupError: this machine has no image to serve as one of them.
    """
    local = images(project, docker, project.images)
    targets = fixtures()
    found: dict[str, str] = {}
    missing: dict[str, str] = {}
    for place, image in images(project, docker, None, dict.fromkeys(MIRRORS, NOWHERE.rstrip("/"))).items():
        if not image.startswith(NOWHERE):
            continue
        name = image.removeprefix(NOWHERE)
        target = name.rpartition("/")[2].partition(":")[0]
        if project.images == LOCAL and target in targets:
            found[name] = target
        elif place in local and (project.images != LOCAL or not local[place].endswith(f"/{name}")):
            found[name] = local[place]
        else:
            missing[name] = target
    # The base of a build may be the image of a service, too.
    for name in missing.keys() - found.keys():
        raise LookupError(f"no image to serve as {name}: tests/fixtures has no target {missing[name]}")
    return [Published(name, source) for name, source in found.items()]


def images(
    project: Project, docker: Docker, chosen: str | None, env: Mapping[str, str] | None = None
) -> dict[Place, str]:
    """The names of all images in the effective configuration of every profile, by their places."""
    found: dict[Place, str] = {}
    for profile in project.data["profiles"]:
        files = ":".join(project.compose_files(profile, chosen, project.groups))
        services = docker.effective(every_group=True, env={"COMPOSE_FILE": files, **(env or {})})["services"]
        found |= {place: image for name, service in services.items() for place, image in _images(name, service)}
    return found


def _images(name: str, service: Mapping[str, Any]) -> list[tuple[Place, str]]:
    arguments = (service.get("build") or {}).get("args") or {}
    bases = [((name, key), value) for key, value in arguments.items() if key.endswith("_IMAGE")]
    return [((name,), service["image"]), *bases]


def fixtures() -> dict[str, Path]:
    """The targets of the fixtures' Dockerfiles, including base stages, each with its folder."""
    return {name: folder for folder in FOLDERS for name in TARGET.findall((folder / "Dockerfile").read_text())}


def build(docker: Docker, target: str, tag: str) -> None:
    """Build a fixture, with the builder's cache.

    Raises:
        ToolkitError: the build fails.
    """
    agent = f"agent-project={docker.root / 'monitoring' / 'kafka'}"
    argv = ("build", "--quiet", "--target", target, "--tag", tag, "--build-context", agent, str(fixtures()[target]))
    docker.check(docker(*argv, env={"BUILDX_BUILDER": "default"}), f"build {target}")


def fill(docker: Docker, registry: str, published: list[Published]) -> None:
    """Push the images to a registry; existing layers are not sent again.

    Raises:
        ToolkitError: an image cannot be built or pushed.
    """

    def push(image: Published) -> None:
        name, source = f"{registry}/{image.name}", image.source
        if source in fixtures():
            build(docker, source, name)
        else:
            docker.check(docker("tag", source, name), f"tag {source}")
        try:
            docker.check(docker("push", "--quiet", name), f"push {name}")
        finally:
            docker("rmi", "--no-prune", name)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(push, published))
