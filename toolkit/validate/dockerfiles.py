"""The images that are built here in the place of published ones keep the configuration that the contracts have."""

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
    """The last stage of each local image's Dockerfile says what the contract says, but for what it names as local."""
    for written in load(checkout):
        file = f"{FOLDER}/{written.name}/Dockerfile"
        if file not in checkout.tracked:
            continue
        wanted = written.of_local_image().config
        stage = last_stage((checkout.root / file).read_text(encoding="utf-8"))
        one = {each.name: each for each in stage}
        expected = {"ENTRYPOINT": wanted.entrypoint, "CMD": wanted.command, "VOLUME": tuple(sorted(wanted.volumes)),
                    "USER": (wanted.user,), "STOPSIGNAL": (wanted.stop_signal,)}  # fmt: skip
        defaults = {"USER": ("0:0",), "STOPSIGNAL": ("SIGTERM",)}
        if wanted.workdir:
            expected["WORKDIR"] = (wanted.workdir,)
        for name, words in expected.items():
            found = one.get(name, Instruction(name, defaults.get(name, ()), 1))
            has = tuple(sorted(found.words)) if name == "VOLUME" else found.words
            problem = f"{name} is {' '.join(has) or 'missing'}, and {' '.join(words) or 'nothing'} in {written.file}"
            yield Finding(file, found.line, "" if has == words else problem)
        ports = [word for each in stage if each.name == "EXPOSE" for word in each.words]
        closed = " ".join(sorted(wanted.ports - {word if "/" in word else f"{word}/tcp" for word in ports}))
        yield Finding(file, 1, f"EXPOSE lacks {closed}, which {written.file} has" if closed else "")
        variables = dict(word.split("=", 1) for each in stage if each.name == "ENV" for word in each.words)
        for name, value in wanted.environment.items():
            problem = f"ENV {name} is not {value}, as {written.file} has it"
            yield Finding(file, 1, "" if variables.get(name) == value else problem)


def last_stage(text: str) -> list[Instruction]:
    """The instructions of the last stage that make up the image's configuration."""
    found: list[Instruction] = []
    lines = enumerate(text.splitlines(), 1)
    for number, line in lines:
        while line.endswith("\\"):
            line = line[:-1] + next(lines, (0, ""))[1]  # noqa: PLW2901 - it goes on there
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            found = []
        elif name in {"ENTRYPOINT", "CMD", "VOLUME", "USER", "STOPSIGNAL", "WORKDIR", "EXPOSE", "ENV"}:
            words = json.loads(rest) if rest.lstrip().startswith("[") else shlex.split(rest)
            found.append(Instruction(name, tuple(words), number))
    return found
