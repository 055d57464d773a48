"""The published images, from nothing: a machine without engine and images, a registry, the commands of the README."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live.machine import REGISTRY, Machine
from tests.live.stack import Stack
from toolkit.project import Project

CHECK = re.compile(r"^(?P<name>\S+) +(?:host|inside) +(?P<outcome>\S+) +[\d.]+ s", re.MULTILINE)
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


@pytest.fixture(scope="module")
def machine(idle_stack: Stack) -> Iterator[Machine]:
    """A machine on which nothing was done yet; each test goes on where the one before it ended."""
    idle_stack.invoke("images.prepare", "--profile=prod", timeout=900)
    with Machine.running(Project.load(idle_stack.root), "netmon-pulled") as machine:
        assert machine.run("find", "/var/lib/netmon-engine", "-mindepth", "1", folder="/").stdout == ""
        yield machine


@pytest.fixture(scope="module")
def quickstart(machine: Machine) -> str:
    """What the first command of the README printed."""
    return machine.run("scripts/quickstart.sh", "--yes", timeout=500).stdout


def containers(machine: Machine) -> dict[str, dict[str, Any]]:
    """``docker inspect`` of the containers of the machine by their service."""
    listed = machine.engine("ps", "--all", "--quiet", "--filter", "label=com.docker.compose.oneoff=False").split()
    found = json.loads(machine.engine("inspect", *listed)) if listed else []
    return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in found}


def services(machine: Machine) -> set[str]:
    """The services of the effective configuration."""
    return set(machine.engine("compose", "config", "--services").split())


def published(machine: Machine) -> set[str]:
    """The images of the effective configuration that come from the registry."""
    return {name for name in machine.engine("compose", "config", "--images").split() if name.startswith(REGISTRY)}


def test_quickstart_brings_everything_up_from_nothing(machine: Machine, quickstart: str) -> None:
    assert "images: pulled, because the registry can be reached" in quickstart
    assert "NETMON_IMAGES=pulled" in machine.read(".env")
    assert "images/compose" not in machine.read(".env")
    checks = {check["name"]: check["outcome"] for check in CHECK.finditer(quickstart)}
    assert set(checks.values()) == {"ok"}, quickstart
    assert services(machine) - checks.keys() <= {"app", "worker"}, "these two are what `probe` goes through"
    assert {"probe", "targets", "signals"} <= checks.keys()
    machine.invoke("status")


def test_every_image_is_published_or_made_of_published_ones(machine: Machine, quickstart: str) -> None:
    running = containers(machine)
    assert running.keys() == services(machine)
    built = {name for name, each in running.items() if not each["Config"]["Image"].startswith(f"{REGISTRY}/")}
    assert built == {"app", "worker", "container-exporter", "kafka"}
    assert "netmon-local" not in machine.engine("images", "--format", "{{.Repository}}")


@pytest.mark.parametrize("choice", ["auto", "pull"])
def test_what_is_complete_is_left_alone(machine: Machine, quickstart: str, choice: str) -> None:
    before = {name: each["Id"] for name, each in containers(machine).items()}
    said = machine.invoke("up", "--no-smoke", f"--images={choice}").stdout
    assert not re.search(r"^ +(pulled|built) ", said, re.MULTILINE), said
    assert {name: each["Id"] for name, each in containers(machine).items()} == before


def test_images_are_locked_and_started_by_digest(machine: Machine, quickstart: str) -> None:
    machine.invoke("images.lock")
    assert "up to date" in machine.invoke("images.lock", "--check").stdout
    assert all(map(DIGEST.search, published(machine)))
    machine.invoke("down")
    volumes = machine.engine("volume", "ls", "--quiet").split()
    checks = [check["outcome"] for check in CHECK.finditer(machine.invoke("up").stdout)]
    assert checks
    assert set(checks) == {"ok"}
    assert set(volumes) <= set(machine.engine("volume", "ls", "--quiet").split()), "the data stays"
    named = {each["Config"]["Image"] for each in containers(machine).values()}
    assert published(machine) <= named
    digests = machine.engine("image", "inspect", "--format", '{{join .RepoDigests " "}}', *published(machine))
    for name in published(machine):
        assert name.rpartition("@")[2] in digests, name


def test_everything_is_pulled_again(machine: Machine, quickstart: str) -> None:
    said = machine.invoke("images.pull").stdout
    assert published(machine) <= set(re.findall(r"^ +pulled (\S+) ", said, re.MULTILINE)), said
