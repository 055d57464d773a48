"""Checks of the local images against the contracts of the published images that they replace."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from toolkit.images.contracts.contract import FOLDER
from toolkit.validate.checkout import Checkout
from toolkit.validate.contracts import load
from toolkit.validate.findings import Finding


class Instruction(NamedTuple):
    """An instruction of a Dockerfile: its name, its words, and its line."""

    name: str
    words: tuple[str, ...]
    line: int


def contract(checkout: Checkout) -> Iterator[Finding]:
    """The last stage of each local image's Dockerfile has the configuration of its contract with local overrides."""
    for image in load(checkout):
        file = f"{FOLDER}/{image.name}/Dockerfile"
        if file not in checkout.tracked:
            continue
        config = image.of_local_image().config
        stage = last_stage((checkout.root / file).read_text(encoding="utf-8"))
        by_name = {each.name: each for each in stage}
        expected = {"ENTRYPOINT": config.entrypoint, "CMD": config.command, "VOLUME": tuple(sorted(config.volumes)),
                    "USER": (config.user,), "STOPSIGNAL": (config.stop_signal,)}  # fmt: skip
        defaults = {"USER": ("0:0",), "STOPSIGNAL": ("SIGTERM",)}
        if config.workdir:
            expected["WORKDIR"] = (config.workdir,)
        for name, words in expected.items():
            found = by_name.get(name, Instruction(name, defaults.get(name, ()), 1))
            has = tuple(sorted(found.words)) if name == "VOLUME" else found.words
            problem = f"{name} is {' '.join(has) or 'missing'}, but {' '.join(words) or 'missing'} in {image.file}"
            yield Finding(file, found.line, "" if has == words else problem)
        ports = [word for each in stage if each.name == "EXPOSE" for word in each.words]
        closed = " ".join(sorted(config.ports - {word if "/" in word else f"{word}/tcp" for word in ports}))
        yield Finding(file, 1, f"EXPOSE lacks {closed} of {image.file}" if closed else "")
        variables = dict(word.split("=", 1) for each in stage if each.name == "ENV" for word in each.words)
        for name, value in config.environment.items():
            problem = f"ENV {name} is not {value} as in {image.file}"
            yield Finding(file, 1, "" if variables.get(name) == value else problem)


def last_stage(text: str) -> list[Instruction]:
    """The instructions of the last stage that set the image's configuration."""
    found: list[Instruction] = []
    lines = enumerate(text.splitlines(), 1)
    for number, line in lines:
        while line.endswith("\\"):
            line = line[:-1] + next(lines, (0, ""))[1]  # noqa: PLW2901 - a continued line
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            found = []
        elif name in {"ENTRYPOINT", "CMD", "VOLUME", "USER", "STOPSIGNAL", "WORKDIR", "EXPOSE", "ENV"}:
            words = json.loads(rest) if rest.lstrip().startswith("[") else shlex.split(rest)
            found.append(Instruction(name, tuple(words), number))
    return found
