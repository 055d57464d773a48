"""Images are pinned, and a mirror of the registry is one setting."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from os.path import relpath
from pathlib import Path

from toolkit import digests
from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.source import items

PINNED = re.compile(r"^[\w./:-]*/?[\w.-]+(:(?!latest$)[\w.-]+)(@sha256:[0-9a-f]{64})?$")
LOCAL = re.compile(r"^(\$\{\w+:-)?netmon-local/")


def pinned(checkout: Checkout) -> Iterator[Finding]:
    """Every image has a tag, and none is `latest`."""
    for each in checkout.whole:
        for name, service in each.services.items():
            image = service.get("image", "")
            problem = "" if PINNED.match(image) else f"the image of {name} is not pinned by a tag: {image or 'none'}"
            yield checkout.place(each.files, "services", name, "image", problem=problem)


def registry(checkout: Checkout) -> Iterator[Finding]:
    """What is pulled comes through ${REGISTRY…}; what is not is built, and the local set has names of its own."""
    local = checkout.project.data["local_images"]
    for source in checkout.layers:
        for name, _ in items(source.node_at("services")):
            image = source.node_at("services", name.value, "image")
            if image is None:
                continue
            built = source.node_at("services", name.value, "build") is not None
            problem = ""
            if source.file == local:
                if not LOCAL.match(image.value):
                    problem = f"the local image of {name.value} is not named netmon-local/…: {image.value}"
            elif not built and not image.value.startswith("${REGISTRY"):
                problem = f"the image of {name.value} is neither built nor taken from ${{REGISTRY…}}"
            yield source.at(image, problem)


def unprivileged(checkout: Checkout) -> Iterator[Finding]:
    """Every image that is built for a service ends as a user that is not root, whatever the compose files say."""
    files = {
        relpath(Path(build["context"], build.get("dockerfile", "Dockerfile")), checkout.root)
        for each in checkout.whole
        for service in each.services.values()
        if (build := service.get("build"))
    }
    for file in sorted(files):
        line, user = 1, ""
        for number, text in enumerate((checkout.root / file).read_text(encoding="utf-8").splitlines(), 1):
            match text.split():
                case ["FROM", *_]:
                    line, user = number, ""
                case ["USER", user]:
                    line = number
        fine = re.fullmatch(r"[1-9]\d*(:\d+)?", user)
        yield Finding(file, line, "" if fine else f"the image runs as {user or 'root'}: USER takes a number above 0")


def locked(checkout: Checkout) -> Iterator[Finding]:
    """Where digests are locked, they are of exactly the published images that the compose files name."""
    project, published = checkout.project, digests.published(checkout.project)
    locks = {layer: project.lock_of(layer) for layer in digests.layers(project)}
    present = {lock for lock in locks.values() if (checkout.root / lock).exists()}
    for file in sorted(checkout.tracked):
        if fnmatch(file, "images*.lock") and file not in locks.values():
            yield Finding(file, 1, "no compose file belongs to this lock")
    for layer, lock in locks.items():
        wanted = published.get(layer, {})
        if present and wanted and lock not in present:
            yield Finding(layer, 1, f"{lock} is missing: invoke images.lock")
        if lock not in present:
            yield Finding(layer, 1)
            continue
        source, pins = checkout.source(lock), digests.recorded(project, layer)
        for keys in wanted.keys() - pins.keys():
            yield checkout.source(layer).finding(*keys, problem=f"{wanted[keys]} is missing in {lock}")
        for keys, value in pins.items():
            image, _, digest = value.rpartition("@")
            problem = "" if digests.DIGEST.fullmatch(digest) else f"{value} has no digest"
            if keys not in wanted:
                problem = f"{'.'.join(keys)} is no image that {layer} names"
            elif image != wanted[keys]:
                problem = f"{image} is locked, but {layer} names {wanted[keys]}"
            yield source.finding(*keys, problem=problem)
