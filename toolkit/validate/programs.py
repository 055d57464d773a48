"""Configuration held against the programs that read it, in the images that run them, as the service would start it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from toolkit.compose import Docker
from toolkit.project import LOCAL, PULLED
from toolkit.validate.checkout import Checkout, Configuration
from toolkit.validate.findings import Finding

PROFILE = "dev"
SECONDS = 60


@dataclass(frozen=True)
class Program:
    """A validator: the image of ``service`` has ``command``, which is run on ``files`` of its mounts, if any."""

    name: str
    service: str
    command: tuple[str, ...]
    files: str

    def paths(self, checkout: Checkout) -> list[str]:
        """The tracked files to validate."""
        return sorted(file for file in checkout.tracked if PurePath(file).match(self.files))


PROGRAMS = (
    Program(
        "promtool-config",
        "prometheus",
        ("promtool", "check", "config", "--lint=all", "--lint-fatal"),
        "monitoring/prometheus/prometheus.yml",
    ),
    Program(
        "promtool-rules",
        "prometheus",
        ("promtool", "check", "rules", "--lint=all", "--lint-fatal"),
        "monitoring/prometheus/rules/*.yml",
    ),
    Program(
        "amtool-config",
        "alertmanager",
        ("amtool", "check-config"),
        "monitoring/alertmanager/alertmanager.yml",
    ),
)


@dataclass(frozen=True)
class Skipped:
    """A program that could not be run here, and why."""

    name: str
    why: str


def validate(checkout: Checkout, program: Program) -> Iterator[Finding | Skipped]:
    """Run one program in its service's image on the files that the service mounts; one finding for each file."""
    docker = Docker(checkout.root)
    why = ""
    for configuration in _candidates(checkout):
        service = configuration.services[program.service]
        inspected = docker("image", "inspect", service["image"])
        if inspected.code == 0:
            yield from _run(checkout, docker, program, service)
            return
        why = inspected.stderr.strip().rpartition("\n")[2]
    yield Skipped(program.name, why)


def _candidates(checkout: Checkout) -> list[Configuration]:
    """The configuration of the image set in use; while none was chosen, that of either set."""
    layers = tuple(checkout.project.layers(PROFILE))
    sets = {PULLED: layers, LOCAL: (*layers, checkout.project.data["local_images"])}
    chosen = checkout.project.images
    wanted = [sets[chosen]] if chosen in sets else list(sets.values())
    return [each for each in checkout.whole if each.files in wanted]


def _run(checkout: Checkout, docker: Docker, program: Program, service: dict[str, Any]) -> Iterator[Finding]:
    mounts = {
        mount["target"]: str(Path(mount["source"]).relative_to(checkout.root))
        for mount in service["volumes"]
        if mount["type"] == "bind"
    }
    inside = {
        file: file.replace(source, target, 1)
        for file in program.paths(checkout)
        for target, source in mounts.items()
        if PurePath(file).is_relative_to(source)
    }
    if not inside:
        return
    program_name, *arguments = program.command
    result = docker(
        *("run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", "--user", service["user"]),
        *(f"--volume={checkout.root / source}:{target}:ro" for target, source in mounts.items()),
        *("--entrypoint", program_name, service["image"], *arguments, *inside.values()),
        timeout=SECONDS,
    )
    if result.code == 0:
        yield from (Finding(file, 1) for file in inside)
        return
    said = f"{result.stdout}\n{result.stderr}"
    accused = {file: path for file, path in inside.items() if f"{path}:" in said} or inside
    file = max(accused, key=lambda each: said.rfind(accused[each]))
    line = re.search(rf"(?:{re.escape(inside[file])}: *|\bline )(\d+)", said)
    yield Finding(file, int(line[1]) if line else 1, f"{program.name}: {' '.join(said.split())}")
