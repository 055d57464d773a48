"""The published images as this machine can serve them: filled into a registry under their own names and tags.

Names and tags are those of the effective configuration. Where this machine uses the published images they are served as
they are. Where it uses the local ones, each is served from a target of tests/fixtures/published/ or
tests/fixtures/standins/ that has its name, else from the local image that stands in its place.
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
"""Marks the names that come from a registry."""
TARGET = re.compile(r"^FROM \S+ AS (\S+)$", re.MULTILINE)

Place = tuple[str, ...]
"""A service and, where a build starts from the image, the argument that names it."""


@dataclass(frozen=True)
class Published:
    """A repository with its tag, and the image of this machine that is served for it."""

    name: str
    source: str


def published(project: Project, docker: Docker) -> list[Published]:
    """Every image that a profile of the checkout takes from a registry, groups that are off included.

    The checkout is set up, and knows which image set this machine uses.

    Raises:
        LookupError: this machine has nothing to serve for one of them.
    """
    here = images(project, docker, project.images)
    targets = fixtures()
    found: dict[str, str] = {}
    for place, image in images(project, docker, None, dict.fromkeys(MIRRORS, NOWHERE.rstrip("/"))).items():
        if not image.startswith(NOWHERE):
            continue
        name = image.removeprefix(NOWHERE)
        target = name.rpartition("/")[2].partition(":")[0]
        if project.images == LOCAL and target in targets:
            found[name] = target
        elif place in here and (project.images != LOCAL or not here[place].endswith(f"/{name}")):
            found[name] = here[place]
        else:
            raise LookupError(f"this machine has nothing to serve as {name}: tests/fixtures has no target {target}")
    return [Published(name, source) for name, source in found.items()]


def images(
    project: Project, docker: Docker, chosen: str | None, env: Mapping[str, str] | None = None
) -> dict[Place, str]:
    """The names of all images in the effective configuration of every profile, by the place that has them."""
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
    """The targets of the fixtures' Dockerfiles, each with its folder; stages that others start from are among them."""
    return {name: folder for folder in FOLDERS for name in TARGET.findall((folder / "Dockerfile").read_text())}


def build(docker: Docker, target: str, tag: str) -> None:
    """Build a fixture through the builder's cache.

    Raises:
        ToolkitError: it cannot be built.
    """
    agent = f"agent-project={docker.root / 'monitoring' / 'kafka'}"
    argv = ("build", "--quiet", "--target", target, "--tag", tag, "--build-context", agent, str(fixtures()[target]))
    docker.check(docker(*argv, env={"BUILDX_BUILDER": "default"}), f"build {target}")


def fill(docker: Docker, registry: str, wanted: list[Published]) -> None:
    """Have a registry serve the images; what it has already is not sent again.

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
        list(pool.map(push, wanted))
