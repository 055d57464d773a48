"""The images of both sets, for `invoke images.list`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.checkout.project import LOCAL, PULLED, Project
from toolkit.engine.compose import Docker
from toolkit.images import sizes
from toolkit.images.pulls import architecture
from toolkit.images.sets import images_of, inspect


@dataclass(frozen=True)
class ListedImage:
    """An image of one or both sets, with its size in bytes and its date (ISO 8601) if it exists on this host.

    ``used_by`` are the services that run it or are built on it. A ``built`` image is not pulled.
    """

    name: str
    used_by: str
    built: bool
    sets: tuple[str, ...]
    size: int | None
    created: str | None


def list_images(project: Project, docker: Docker) -> list[ListedImage]:
    """The images of both sets for the groups that are on, the set in use first.

    Raises:
        ToolkitError: the compose files cannot be read, or the engine does not answer.
    """
    order = [LOCAL, PULLED] if project.images == LOCAL else [PULLED, LOCAL]
    users: dict[str, str] = {}
    built: dict[str, bool] = {}
    sets: dict[str, list[str]] = {}
    for chosen in order:
        images = images_of(project, docker, chosen)
        for image in images:
            users.setdefault(image.name, ", ".join(image.services))
            built.setdefault(image.name, image.built)
            sets.setdefault(image.name, []).append(chosen)
        for image in images:
            for base in image.bases:
                users.setdefault(base, f"base of {image.services[0]}")
                built.setdefault(base, False)
                sets.setdefault(base, [chosen])
    rows = []
    for name, of in sets.items():
        result = inspect(docker, name)
        details = json.loads(result.stdout)[0] if result.code == 0 else {}
        rows.append(ListedImage(name, users[name], built[name], tuple(of), details.get("Size"), details.get("Created")))
    return rows


def downloads(project: Project, docker: Docker, rows: Sequence[ListedImage]) -> Mapping[str, sizes.Layers]:
    """The layers of the listed published images whose registries answer.

    Raises:
        ToolkitError: the engine does not answer.
    """
    names = [row.name for row in rows if not row.built]
    return sizes.layers(names, architecture(docker), project.timeout("registry"))
