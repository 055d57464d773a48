"""The repository as the checks see it: its files, their YAML, and what Compose makes of each combination of layers."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from toolkit.checkout.project import LOCAL, PULLED, Project
from toolkit.checkout.variables import variables_used
from toolkit.engine.compose import Docker
from toolkit.validate.findings import BrokenFileError, Finding
from toolkit.validate.source import Key, Source, elements

EVERY_GROUP = ("*",)
REGISTRY = "REGISTRY"
"""What the variables that name a registry begin with."""
Layers = tuple[tuple[str, ...], tuple[str, ...]]
"""Files, in the order in which they are merged, and the groups that are on."""
# The dollar sign of `$${X}` is an escaped one.
VARIABLE = re.compile(r"(?<!\$)(?:\$\$)*\$\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?+])([^}]*))?")


@dataclass(frozen=True)
class Configuration:
    """The effective configuration of some layers (merged in this order) with some groups switched on."""

    files: tuple[str, ...]
    groups: tuple[str, ...]
    config: dict[str, Any] = field(compare=False)
    warnings: tuple[Finding, ...] = ()

    @property
    def services(self) -> dict[str, dict[str, Any]]:
        """The services that are on."""
        services: dict[str, dict[str, Any]] = self.config["services"]
        return services


class Checkout:
    """The files below ``root``; nothing is read before a check asks for it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.project = Project.load(root)
        self._sources: dict[str, Source] = {}
        self._known: dict[Layers, Configuration] = {}

    @cached_property
    def tracked(self) -> frozenset[str]:
        """Every file that git tracks; every file there is where this is no git repository (an unpacked archive)."""
        try:
            listed = subprocess.run(
                ["git", "ls-files", "-z"], cwd=self.root, capture_output=True, text=True, check=True
            ).stdout.split("\0")
        except (OSError, subprocess.CalledProcessError):
            found = [path.relative_to(self.root) for path in self.root.rglob("*")]
            listed = [str(path) for path in found if not any(part.startswith(".") for part in path.parts[:-1])]
        return frozenset(name for name in listed if name and (self.root / name).is_file())

    def source(self, file: str) -> Source:
        """The YAML of a file.

        Raises:
            BrokenFileError: it cannot be read.
        """
        if file not in self._sources:
            self._sources[file] = Source(self.root, file)
        return self._sources[file]

    @property
    def base(self) -> str:
        """The layer that every profile starts with."""
        return self.project.shipped_files[0]

    @property
    def secrets_layer(self) -> str:
        """The layer with which containers read credentials from files."""
        return str(self.project.data["secrets_layer"])

    @property
    def security_layer(self) -> str:
        """The layer with which every rule of hardening applies."""
        return str(self.project.data["security_layer"])

    def is_hardened(self, configuration: Configuration) -> bool:
        """Whether the security layer is among the layers of a configuration."""
        return self.security_layer in configuration.files

    @cached_property
    def layers(self) -> list[Source]:
        """Every compose file of the project once."""
        return [self.source(file) for file in self.project.shipped_files]

    def files(self, profile: str, images: str, groups: Iterable[str]) -> tuple[str, ...]:
        """The layers of a profile with an image set and some groups, as set-up puts them together."""
        every = self.project.groups if tuple(groups) == EVERY_GROUP else groups
        files = self.project.compose_files(profile, images, every)
        return tuple(file for file in files if file != self.project.data["override"])

    @cached_property
    def whole(self) -> Sequence[Configuration]:
        """The base alone, and each profile with each image set: every group on, the tools included.

        Raises:
            BrokenFileError: Compose refuses one of them.
        """
        return self._merge(EVERY_GROUP)

    @cached_property
    def configurations(self) -> Sequence[Configuration]:
        """The same with every group off, with each one alone, and with all of them.

        Raises:
            BrokenFileError: Compose refuses one of them.
        """
        return [*self._merge((), *((group,) for group in self.project.groups)), *self.whole]

    @cached_property
    def variables(self) -> list[str]:
        """Every variable that a compose file reads.

        Raises:
            BrokenFileError: one of the files cannot be read.
        """
        return list(variables_used(self.project, [layer.file for layer in self.layers]))

    @cached_property
    def registries(self) -> dict[str, str]:
        """The settings of this machine that name a registry, as Compose takes them: its environment, then .env."""
        settings = {**self.project.env, **os.environ}
        return {name: settings[name] for name in self.variables if name.startswith(REGISTRY) and settings.get(name)}

    def place(self, files: tuple[str, ...], *keys: Key, problem: str = "") -> Finding:
        """A finding where the layers set ``keys``: in the last that has them, else in the first that comes closest."""
        found = [(self.source(file).find(*keys), number, file) for number, file in enumerate(files)]
        (_, line, _), _, file = max(
            found, key=lambda each: (each[0][2], each[1] if each[0][2] == len(keys) else -each[1])
        )
        return Finding(file, line, problem)

    def mount(self, files: tuple[str, ...], service: str, target: str, problem: str = "") -> Finding:
        """A finding at the volume of a service that is mounted at ``target``."""
        for source in map(self.source, reversed(files)):
            volumes = source.node_at("services", service, "volumes")
            for number, volume in enumerate(elements(volumes)):
                node = source.node_at("services", service, "volumes", number, "target") or volume
                if isinstance(node.value, str) and target in node.value.split(":"):
                    return source.at(node, problem)
        return self.place(files, "services", service, "volumes", problem=problem)

    def credential(self, variable: str) -> str:
        """What stands for a password here: a word that nothing else in a configuration can be."""
        return f"validate-{variable.lower()}-value"

    def _merge(self, *groups: tuple[str, ...]) -> Sequence[Configuration]:
        profiles = self.project.data["profiles"]
        base: tuple[str, ...] = (self.base,)
        wanted: list[Layers] = [(base, on) for on in groups]
        wanted += [(self.files(*each, on), on) for each in product(profiles, (PULLED, LOCAL)) for on in groups]
        return self.merge(wanted)

    def merge(self, wanted: Sequence[Layers]) -> Sequence[Configuration]:
        """What Compose makes of each of these.

        Raises:
            BrokenFileError: it refuses one of them.
        """
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda each: self.configuration(*each), wanted))

    def configuration(self, files: tuple[str, ...], groups: tuple[str, ...]) -> Configuration:
        """What Compose makes of these layers with these groups switched on; it is asked once.

        Raises:
            BrokenFileError: Compose refuses them.
        """
        if (files, groups) not in self._known:
            self._known[files, groups] = self._configuration(files, groups)
        return self._known[files, groups]

    def _configuration(self, files: tuple[str, ...], groups: tuple[str, ...]) -> Configuration:
        # As on a fresh clone after set-up: no variable of the user's shell or .env, every password present. But images
        # are looked for where this machine gets them: a mirror is in their names.
        result = Docker(self.root).compose(
            *(argument for file in files for argument in ("--file", file)),
            *(argument for group in groups for argument in ("--profile", group)),
            *("config", "--format", "json"),
            env={
                **dict.fromkeys(self.variables),
                **self.registries,
                **dict.fromkeys(("COMPOSE_FILE", "COMPOSE_PROFILES", "COMPOSE_ENV_FILES", "COMPOSE_PROJECT_NAME")),
                **{each.variable: self.credential(each.variable) for each in self.project.secrets.values()},
                "COMPOSE_DISABLE_ENV_FILE": "1",
            },
        )
        said = [line.strip() for line in result.stderr.splitlines() if line.strip()]
        if result.code:
            raise BrokenFileError(self._said(files, " ".join(said) or f"exit code {result.code}"))
        warnings = tuple(self._said(files, line) for line in said)
        return Configuration(files, groups, json.loads(result.stdout), warnings)

    def _said(self, files: tuple[str, ...], message: str) -> Finding:
        """A finding where a message of Compose points to: a line, a path of keys, a service, a variable, a file."""
        problem = "docker compose: " + re.sub(r'^time="[^"]*" level=(\w+) msg=', r"\1: ", message)
        files = tuple(file for file in files if str(self.root / file) in message) or files
        if match := re.search(r"yaml: (?:.*?)line (\d+)", message):
            return Finding(files[-1], int(match[1]), problem)
        if match := re.search(r"\b(services|networks|volumes|secrets|configs)\.[\w.-]+", message):
            return self.place(files, *match[0].rstrip(".").split("."), problem=problem)
        if match := re.search(r'service "([\w-]+)"', message):
            return self.place(files, "services", match[1], problem=problem)
        named = set(re.findall(r'[\\"]([A-Z][A-Z0-9_]*)[\\"]|variable ([A-Z][A-Z0-9_]*)', message))
        names = {name for pair in named for name in pair if name}
        for source in map(self.source, files):
            for scalar in source.scalars():
                if names & {match[1] for match in VARIABLE.finditer(scalar.value)}:
                    return source.at(scalar, problem)
        return Finding(files[0], 1, problem)


def is_job(configuration: Configuration, name: str, tools: str) -> bool:
    """Whether a service runs to its end: a one-off tool, or what others wait for to complete."""
    waited_for = any(
        service.get("depends_on", {}).get(name, {}).get("condition") == "service_completed_successfully"
        for service in configuration.services.values()
    )
    return waited_for or tools in configuration.services[name].get("profiles", [])
