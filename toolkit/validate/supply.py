"""Checks of the images' supply chain: locked digests, and users other than root."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from os.path import relpath
from pathlib import Path

from toolkit.images import image_lock
from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding


def locks(checkout: Checkout) -> Iterator[Finding]:
    """The lock files have a digest for exactly the published images that the compose files name."""
    project, published = checkout.project, image_lock.published_images(checkout.project)
    lock_files = {layer: project.lock_of(layer) for layer in project.shipped_files}
    present = {lock for lock in lock_files.values() if (checkout.root / lock).exists()}
    for file in sorted(checkout.tracked):
        if fnmatch(file, "images*.lock") and file not in lock_files.values():
            yield Finding(file, 1, "no compose file belongs to this lock")
    for layer, lock in lock_files.items():
        named = published.get(layer, {})
        if present and named and lock not in present:
            yield Finding(layer, 1, f"{lock} is missing: run invoke images.lock")
        if lock not in present:
            yield Finding(layer, 1)
            continue
        source, pins = checkout.source(lock), image_lock.read_lock(project, layer)
        for keys in named.keys() - pins.keys():
            yield checkout.source(layer).finding(*keys, problem=f"{named[keys]} is missing from {lock}")
        for keys, value in pins.items():
            image, _, digest = value.rpartition("@")
            problem = "" if image_lock.DIGEST.fullmatch(digest) else f"{value} has no digest"
            if keys not in named:
                problem = f"{'.'.join(keys)} is not an image of {layer}"
            elif image != named[keys]:
                problem = f"{image} is locked, but {layer} names {named[keys]}"
            yield source.finding(*keys, problem=problem)


def users(checkout: Checkout) -> Iterator[Finding]:
    """Every image built for a service runs as a user other than root, regardless of the compose files."""
    files = {
        relpath(Path(build["context"], build.get("dockerfile", "Dockerfile")), checkout.root)
        for each in checkout.full_configurations
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
