"""The tags that the compose files pin: whether the registries have them, and which newer ones there are."""

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
    """A tag that compose files name.

    Attributes:
        name: The image with its tag.
        layers: The compose files that name it.
        exists: Whether its registry has it; None where the registry does not answer.
        line: The newest tag of the same line: the same version but for its last number; empty where it is this one.
        newest: The newest tag of all; empty where it is this one or the one of ``line``.
        problem: What the registry did not answer, in words.
    """

    name: str
    layers: tuple[str, ...]
    exists: bool | None
    line: str = ""
    newest: str = ""
    problem: str = ""


def pinned_tags(project: Project) -> list[PinnedTag]:
    """Every published image that the compose files name, by name; its registry is asked, the mirror where one is set.

    Raises:
        ToolkitError: a compose file cannot be read.
    """
    registries = Registries()
    found = image_lock.layers_of(project)

    def ask(name: str) -> PinnedTag:
        return _check(registries, name, tuple(found[name]))

    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return list(pool.map(ask, sorted(found)))


def newer(tag: str, tags: Iterable[str]) -> tuple[str, str]:
    """The newest tags of the same line and of all, as in `Pinned`.

    Only tags of the same form count: the same variant (``-alpine``), as many numbers, with or without a ``v``.
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
        return PinnedTag(text, layers, exists=True, problem=f"its tags are not listed: {error}")
    return PinnedTag(text, layers, True, line, newest)


def _numbers(match: re.Match[str]) -> tuple[int, ...]:
    return tuple(map(int, match["numbers"].split(".")))
