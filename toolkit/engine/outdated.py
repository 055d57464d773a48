"""The services whose containers Compose would recreate."""

from __future__ import annotations

from collections.abc import Iterable

from toolkit.engine import shapes
from toolkit.engine.compose import HASHES, Docker

SERVICE = "com.docker.compose.service"
CONFIGURATION = "com.docker.compose.config-hash"
IMAGE = "com.docker.compose.image"


def outdated(docker: Docker, containers: Iterable[shapes.Container]) -> set[str]:
    """The services with a container of another configuration or another image than the present one.

    Args:
        docker: Docker in the project's folder.
        containers: The containers of the project.

    Raises:
        ToolkitError: Compose cannot read the files.
    """
    listed = docker.check(docker.query(*HASHES), "read the compose files").stdout
    hashes = dict(line.split() for line in listed.splitlines())
    labels = [labels for each in containers if (labels := each["Config"]["Labels"])[SERVICE] in hashes]
    images = image_ids(docker, {label[SERVICE] for label in labels})
    return {
        label[SERVICE]
        for label in labels
        if label[CONFIGURATION] != hashes[label[SERVICE]]
        or label.get(IMAGE) != images.get(label[SERVICE], label.get(IMAGE))
    }


def image_ids(docker: Docker, services: Iterable[str]) -> dict[str, str]:
    """The id of the image of each service; empty if one of the images is missing."""
    configured = docker.effective()["services"]
    names = {service: configured[service]["image"] for service in services}
    if not names:
        return {}
    unique = sorted(set(names.values()))
    found = docker("image", "inspect", "--format", "{{.Id}}", *unique)
    ids = dict(zip(unique, found.stdout.split(), strict=True)) if found.code == 0 else {}
    return {service: ids[name] for service, name in names.items() if name in ids}
