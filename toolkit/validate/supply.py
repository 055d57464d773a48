"""What the images are made of: digests that are locked, and users that are not root."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from os.path import relpath
from pathlib import Path

from toolkit.images import image_lock
from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding


def locked(checkout: Checkout) -> Iterator[Finding]:
    """Where digests are locked, they are of exactly the published images that the compose files name."""
    project, published = checkout.project, image_lock.published_images(checkout.project)
    locks = {layer: project.lock_of(layer) for layer in project.shipped_files}
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
        source, pins = checkout.source(lock), image_lock.read_lock(project, layer)
        for keys in wanted.keys() - pins.keys():
            yield checkout.source(layer).finding(*keys, problem=f"{wanted[keys]} is missing in {lock}")
        for keys, value in pins.items():
            image, _, digest = value.rpartition("@")
            problem = "" if image_lock.DIGEST.fullmatch(digest) else f"{value} has no digest"
            if keys not in wanted:
                problem = f"{'.'.join(keys)} is no image that {layer} names"
            elif image != wanted[keys]:
                problem = f"{image} is locked, but {layer} names {wanted[keys]}"
            yield source.finding(*keys, problem=problem)


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
