"""The repository as the checks see it: tracked files, parsed YAML, and the effective Compose configurations."""

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
"""Prefix of the variables that name a registry."""
Layers = tuple[tuple[str, ...], tuple[str, ...]]
"""Files in merge order, and the enabled groups."""
# `$${X}` is an escaped dollar sign, not a variable.
VARIABLE = re.compile(r"(?<!\$)(?:\$\$)*\$\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?+])([^}]*))?")


@dataclass(frozen=True)
class Configuration:
    """The effective configuration of ``files`` (in merge order) with ``groups`` enabled."""

    files: tuple[str, ...]
    groups: tuple[str, ...]
    config: dict[str, Any] = field(compare=False)
    warnings: tuple[Finding, ...] = ()

    @property
    def services(self) -> dict[str, dict[str, Any]]:
        """The enabled services."""
        services: dict[str, dict[str, Any]] = self.config["services"]
        return services


class Checkout:
    """The files below ``root``, read lazily."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.project = Project.load(root)
        self._sources: dict[str, Source] = {}
        self._cache: dict[Layers, Configuration] = {}

    @cached_property
    def tracked(self) -> frozenset[str]:
        """Every file that git tracks; outside a git repository (an unpacked archive), every file."""
        try:
            listed = subprocess.run(
                ["git", "ls-files", "-z"],
                cwd=self.root,
                capture_output=True,
                encoding="utf-8",
                errors="surrogateescape",
                check=True,
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
        """The first layer of every profile."""
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
        """Every compose file of the project."""
        return [self.source(file) for file in self.project.shipped_files]

    def files(self, profile: str, images: str, groups: Iterable[str]) -> tuple[str, ...]:
        """The layers of a profile with an image set and some groups, as `invoke setup` combines them."""
        every = self.project.groups if tuple(groups) == EVERY_GROUP else groups
        files = self.project.compose_files(profile, images, every)
        return tuple(file for file in files if file != self.project.data["override"])

    @cached_property
    def full_configurations(self) -> Sequence[Configuration]:
        """The base alone, and each profile with each image set: every group enabled, tools included.

        Raises:
            BrokenFileError: Compose refuses one of them.
        """
        return self._merge(EVERY_GROUP)

    @cached_property
    def configurations(self) -> Sequence[Configuration]:
        """The same combinations with no group, with each single group, and with all groups.

        Raises:
            BrokenFileError: Compose refuses one of them.
        """
        return [*self._merge((), *((group,) for group in self.project.groups)), *self.full_configurations]

    @cached_property
    def variables(self) -> list[str]:
        """Every variable that a compose file uses.

        Raises:
            BrokenFileError: one of the files cannot be read.
        """
        return list(variables_used(self.project, [layer.file for layer in self.layers]))

    @cached_property
    def registries(self) -> dict[str, str]:
        """The registry settings of this machine, with Compose's precedence: environment before .env."""
        settings = {**self.project.env, **os.environ}
        return {name: settings[name] for name in self.variables if name.startswith(REGISTRY) and settings.get(name)}

    def place(self, files: tuple[str, ...], *keys: Key, problem: str = "") -> Finding:
        """A finding where the layers set ``keys``: the last layer with all, else the first with most of them."""
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

    def placeholder(self, variable: str) -> str:
        """A placeholder password that cannot be mistaken for any other value of a configuration."""
        return f"validate-{variable.lower()}-value"

    def _merge(self, *groups: tuple[str, ...]) -> Sequence[Configuration]:
        profiles = self.project.data["profiles"]
        base: tuple[str, ...] = (self.base,)
        combinations: list[Layers] = [(base, on) for on in groups]
        combinations += [(self.files(*each, on), on) for each in product(profiles, (PULLED, LOCAL)) for on in groups]
        return self.merge(combinations)

    def merge(self, combinations: Sequence[Layers]) -> Sequence[Configuration]:
        """The effective configuration of each combination.

        Raises:
            BrokenFileError: Compose refuses one of them.
        """
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda each: self.configuration(*each), combinations))

    def configuration(self, files: tuple[str, ...], groups: tuple[str, ...]) -> Configuration:
        """The effective configuration of these layers with these groups enabled, cached.

        Raises:
            BrokenFileError: Compose refuses them.
        """
        if (files, groups) not in self._cache:
            self._cache[files, groups] = self._configuration(files, groups)
        return self._cache[files, groups]

    def _configuration(self, files: tuple[str, ...], groups: tuple[str, ...]) -> Configuration:
        # As on a fresh clone after setup: no variables of the user's shell or .env, every password present. Registry
        # settings are kept: they are part of the names of the images on this machine.
        result = Docker(self.root).compose(
            *(argument for file in files for argument in ("--file", file)),
            *(argument for group in groups for argument in ("--profile", group)),
            *("config", "--format", "json"),
            env={
                **dict.fromkeys(self.variables),
                **self.registries,
                **dict.fromkeys(("COMPOSE_FILE", "COMPOSE_PROFILES", "COMPOSE_ENV_FILES", "COMPOSE_PROJECT_NAME")),
                **{each.variable: self.placeholder(each.variable) for each in self.project.secrets.values()},
                "COMPOSE_DISABLE_ENV_FILE": "1",
            },
        )
        messages = [line.strip() for line in result.stderr.splitlines() if line.strip()]
        if result.code:
            raise BrokenFileError(self._finding(files, " ".join(messages) or f"exit code {result.code}"))
        warnings = tuple(self._finding(files, line) for line in messages)
        return Configuration(files, groups, json.loads(result.stdout), warnings)

    def _finding(self, files: tuple[str, ...], message: str) -> Finding:
        """A finding at the place in a message of Compose: a line, a path of keys, a service, a variable or a file."""
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
    """Whether a service runs to completion: a one-off tool, or a dependency that others wait to complete."""
    waited_for = any(
        service.get("depends_on", {}).get(name, {}).get("condition") == "service_completed_successfully"
        for service in configuration.services.values()
    )
    return waited_for or tools in configuration.services[name].get("profiles", [])
