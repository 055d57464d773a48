"""Check of image names: a registry mirror is a single setting."""

from __future__ import annotations

import re
from collections.abc import Iterator

from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.source import items

LOCAL = re.compile(r"^(\$\{\w+:-)?netmon-local/")


def registry(checkout: Checkout) -> Iterator[Finding]:
    """Pulled images are named through ${REGISTRY…}, all others are built, and local images are netmon-local/…."""
    local = checkout.project.local_image_files
    for source in checkout.layers:
        for name, _ in items(source.node_at("services")):
            image = source.node_at("services", name.value, "image")
            if image is None:
                continue
            built = source.node_at("services", name.value, "build") is not None
            problem = ""
            if source.file in local:
                if not LOCAL.match(image.value):
                    problem = f"the local image of {name.value} is not named netmon-local/…: {image.value}"
            elif not built and not image.value.startswith("${REGISTRY"):
                problem = f"the image of {name.value} is neither built nor named through ${{REGISTRY…}}"
            yield source.at(image, problem)


def local(checkout: Checkout) -> Iterator[Finding]:
    """In the local set every service has a local image or is marked as absent."""
    data = checkout.project.data
    for each in checkout.full_configurations:
        if not {*checkout.project.local_image_files} & {*each.files}:
            continue
        for name, service in each.services.items():
            fine = LOCAL.match(service["image"]) or service.get("profiles") == [data["absent"]]
            problem = (
                "" if fine else f"{name} has neither a local image nor the profile {data['absent']} in the local set"
            )
            yield checkout.place(each.files, "services", name, "image", problem=problem)
