"""images.lock: the digest of every published image, in compose files that are merged where these images are used.

A tag can be moved, a digest is the image itself. Each layer that names published images has a lock of its own, with
the same keys: docker-compose.yml has images.lock, docker-compose.monitoring.yml has images.monitoring.lock.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from toolkit.checkout.project import PULLED, Project
from toolkit.checkout.setup import setup
from toolkit.checkout.variables import parse
from toolkit.core.errors import ToolkitError
from toolkit.core.files import exclusive, write_atomically
from toolkit.core.progress import run_in_parallel
from toolkit.engine.compose import Docker, TimedOutError

Pins = dict[tuple[str, ...], str]
"""Keys that lead to an image in a compose file → its name, with a digest in a lock."""

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
HEADER = """\
# The published images that {layer} names, by digest: merged after the layers where these images are used.
# Written by `invoke images.lock`, for review and commit like any other change.

"""
_IMAGE = re.compile(r"(^|_)image$", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{(?P<name>\w+):-(?P<default>[^{}]*)\}")


def published_images(project: Project) -> dict[str, Pins]:
    """The published images by layer, as they are written there: those of services, and those that builds start from.

    What comes from a registry is written with its variable, ``${REGISTRY…}``, and nothing else is.

    Raises:
        ToolkitError: a compose file cannot be read.
    """
    found = {layer: _pins(parse(project.root / layer)) for layer in project.shipped_files}
    return {layer: pins for layer, pins in found.items() if pins}


def names_image(key: str) -> bool:
    """Whether a key of a service or of its build's arguments is an image's, by its name: ``image``, ``…_IMAGE``."""
    return bool(_IMAGE.search(key))


def layers_of(project: Project) -> dict[str, list[str]]:
    """The name of each published image, with the mirrors that are set → the layers that name it.

    Raises:
        ToolkitError: a compose file cannot be read.
    """
    env, found = {**project.env, **os.environ}, dict[str, list[str]]()
    for layer, pins in published_images(project).items():
        for image in dict.fromkeys(pins.values()):
            found.setdefault(_interpolate(image, env), []).append(layer)
    return found


def read_lock(project: Project, layer: str) -> Pins:
    """Everything that the lock of a layer says; nothing where there is no lock.

    Raises:
        ToolkitError: it cannot be read.
    """
    path = project.root / project.lock_of(layer)
    return dict(_leaves(parse(path))) if path.exists() else {}


def write_lock(project: Project, layer: str, pins: Pins) -> None:
    """Replace the lock of a layer in one step; a layer without published images has none.

    Raises:
        ToolkitError: it cannot be written; the old one is untouched.
    """
    path = project.root / project.lock_of(layer)
    if pins:
        text = yaml.safe_dump(_tree(pins), sort_keys=False, width=1000)
        write_atomically(path, HEADER.format(layer=layer) + text)
    else:
        path.unlink(missing_ok=True)


def lock(project: Project, docker: Docker) -> list[str]:
    """Ask the registries for the digests and write the locks; all of them are known before the first is written.

    Returns:
        What has changed, a line an image.

    Raises:
        ToolkitError: a registry cannot be reached or does not know an image; no lock was changed.
    """
    with exclusive(project.lock_file, "lock the images"):
        wanted = _resolve(project, docker)
        changes = _changes(project, wanted)
        for layer in project.shipped_files:
            write_lock(project, layer, wanted.get(layer, {}))
        if project.profile and project.images == PULLED:
            setup(project, None)
        return changes


def check(project: Project, docker: Docker) -> list[str]:
    """What `lock` would change, a line an image.

    Raises:
        ToolkitError: a registry cannot be reached or does not know an image.
    """
    return _changes(project, _resolve(project, docker))


def _pins(node: Any) -> Pins:
    """The images in a compose file: ``image`` of a service, and build arguments that are named …_IMAGE."""
    return {
        keys: value
        for keys, value in _leaves(node)
        if keys[0] == "services" and names_image(keys[-1]) and value.startswith("${REGISTRY")
    }


def _leaves(node: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every value below a mapping that is none itself, with the keys that lead to it."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, (*keys, str(key)))
    elif keys:
        yield keys, str(node)


def _tree(pins: Pins) -> dict[str, Any]:
    """The mapping that `_leaves` takes apart."""
    tree: dict[str, Any] = {}
    for keys, value in pins.items():
        node = tree
        for key in keys[:-1]:
            node = node.setdefault(key, {})
        node[keys[-1]] = value
    return tree


def _resolve(project: Project, docker: Docker) -> dict[str, Pins]:
    """The published images with the digests that the registries have for them now."""
    found = published_images(project)
    env = {**project.env, **os.environ}
    names = {image: _interpolate(image, env) for pins in found.values() for image in pins.values()}
    digests: dict[str, str] = {}

    def ask(name: str) -> None:
        digests[name] = _digest(project, docker, name)

    run_in_parallel(list(dict.fromkeys(names.values())), ask, "found")
    return {
        layer: {keys: f"{image}@{digests[names[image]]}" for keys, image in pins.items()}
        for layer, pins in found.items()
    }


def _interpolate(text: str, env: Mapping[str, str]) -> str:
    """A name of an image as Compose would make it of its variables."""
    return _VARIABLE.sub(lambda match: env.get(match["name"]) or match["default"], text)


def _digest(project: Project, docker: Docker, name: str) -> str:
    """The digest that a registry has for a tag: of the list for all platforms where there is one."""
    # Without a function in front, buildx prints a summary of its own.
    argv = ("buildx", "imagetools", "inspect", "--format", "{{print .Manifest.Digest}}", name)
    try:
        result = docker(*argv, timeout=project.timeout("registry"))
        said = (result.stderr if result.code else result.stdout).strip()
    except TimedOutError as error:
        said = error.what
    if DIGEST.fullmatch(said):
        return said
    raise ToolkitError(
        f"cannot find out the digest of {name}",
        (said.splitlines() or ["docker printed none"])[-1].removeprefix("ERROR: "),
        "try again where the registry can be reached, or name a mirror in .env (REGISTRY); no lock was changed",
    )


def _changes(project: Project, wanted: Mapping[str, Pins]) -> list[str]:
    """How the locks as they are differ from how they should be."""
    lines = []
    for layer in project.shipped_files:
        old, new = read_lock(project, layer), wanted.get(layer, {})
        for keys in dict.fromkeys([*new, *old]):
            before, after = old.get(keys, ""), new.get(keys, "")
            if before == after:
                continue
            image = (after or before).rpartition("@")[0] or before
            if not before:
                lines.append(f"{image}: missing in {project.lock_of(layer)}")
            elif not after:
                lines.append(f"{'.'.join(keys)}: in {project.lock_of(layer)}, but no longer in {layer}")
            else:
                lines.append(f"{image}: changed, from {before.rpartition('@')[2]} to {after.rpartition('@')[2]}")
    return list(dict.fromkeys(lines))
