"""The tags pinned in the compose files: whether they exist in the registries, and newer ones."""

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from toolkit.checkout.project import Project
from toolkit.images import image_lock
from toolkit.images.registry import ImageName, Registries, RegistryError

AT_ONCE = 8
_VERSION = re.compile(r"(?P<prefix>v?)(?P<numbers>\d+(\.\d+)*)(?P<variant>.*)")


@dataclass(frozen=True)
class PinnedTag:
    """A tag pinned in compose files.

    Attributes:
        name: The image with its tag.
        layers: The compose files with this tag.
        exists: Whether its registry has it; None if the registry does not respond.
        line: The newest tag of the same release line (only the last version number differs); empty if already pinned.
        newest: The newest tag of all; empty if already pinned or equal to ``line``.
        problem: The error of the registry.
    """

    name: str
    layers: tuple[str, ...]
    exists: bool | None
    line: str = ""
    newest: str = ""
    problem: str = ""


def pinned_tags(project: Project) -> list[PinnedTag]:
    """Every published image of the compose files, sorted by name and checked in its registry or configured mirror.

    Raises:
        ToolkitError: a compose file cannot be read.
    """
    registries = Registries()
    found = image_lock.layers_of(project)

    def check(name: str) -> PinnedTag:
        return _check(registries, name, tuple(found[name]))

    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return list(pool.map(check, sorted(found)))


def newer(tag: str, tags: Iterable[str]) -> tuple[str, str]:
    """The newest tags of the same release line and of all, as in `PinnedTag`.

    Only tags of the same form are compared: the same prefix (``v``), number of version parts and variant (``-alpine``).
    """
    pin = _VERSION.fullmatch(tag)
    if not pin:
        return "", ""
    numbers = _numbers(pin)
    alike: dict[tuple[int, ...], str] = {}
    for match in filter(None, map(_VERSION.fullmatch, tags)):
        form = match["prefix"], match["variant"], len(_numbers(match))
        if form == (pin["prefix"], pin["variant"], len(numbers)):
            alike[_numbers(match)] = match[0]
    later = [version for version in alike if version > numbers]
    line = max((version for version in later if version[:-1] == numbers[:-1]), default=None)
    newest = max(later, default=None)
    return alike[line] if line else "", alike[newest] if newest and newest != line else ""


def _check(registries: Registries, text: str, layers: tuple[str, ...]) -> PinnedTag:
    name = ImageName.parse(text)
    try:
        if not registries.exists(name):
            return PinnedTag(text, layers, exists=False)
    except RegistryError as error:
        return PinnedTag(text, layers, exists=None, problem=str(error))
    try:
        line, newest = newer(name.tag, registries.tags(name))
    except RegistryError as error:
        return PinnedTag(text, layers, exists=True, problem=f"cannot list its tags: {error}")
    return PinnedTag(text, layers, True, line, newest)


def _numbers(match: re.Match[str]) -> tuple[int, ...]:
    return tuple(map(int, match["numbers"].split(".")))
