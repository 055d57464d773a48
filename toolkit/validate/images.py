"""A mirror of the registry is one setting."""

from __future__ import annotations

import re
from collections.abc import Iterator

from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.source import items

LOCAL = re.compile(r"^(\$\{\w+:-)?netmon-local/")


def registry(checkout: Checkout) -> Iterator[Finding]:
    """What is pulled comes through ${REGISTRY…}; what is not is built, and the local set has names of its own."""
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
                problem = f"the image of {name.value} is neither built nor taken from ${{REGISTRY…}}"
            yield source.at(image, problem)
