"""The published images from scratch: a machine without engine and images, and the first command of the README."""

from __future__ import annotations

import re

import pytest

from tests.live.machine import REGISTRY, Machine, checks


def test_quickstart_starts_everything_from_scratch(machine: Machine, quickstart: str) -> None:
    # The pulls in the background may have finished before the images are chosen.
    assert re.search(r"images: pulled, (because the registry is reachable|already on this host)", quickstart), (
        quickstart
    )
    assert "NETMON_IMAGES=pulled" in machine.read(".env")
    assert "images/compose" not in machine.read(".env")
    found = checks(quickstart)
    assert set(found.values()) == {"ok"}, quickstart
    assert machine.services() - found.keys() <= {"app", "worker"}, "`probe` covers these two"
    assert {"probe", "targets", "signals"} <= found.keys()
    machine.invoke("status")


def test_every_image_is_published_or_built_from_a_published_one(machine: Machine, quickstart: str) -> None:
    running = machine.containers()
    assert running.keys() == machine.services()
    built = {name for name, each in running.items() if not each["Config"]["Image"].startswith(f"{REGISTRY}/")}
    assert built == {"app", "worker", "container-exporter", "kafka"}
    assert "netmon-local" not in machine.engine("images", "--format", "{{.Repository}}")


@pytest.mark.parametrize("choice", ["auto", "pull"])
def test_a_complete_stack_is_not_changed(machine: Machine, quickstart: str, choice: str) -> None:
    before = {name: each["Id"] for name, each in machine.containers().items()}
    output = machine.invoke("up", "--no-smoke", f"--images={choice}").stdout
    assert not re.search(r"^ +(pulled|built) ", output, re.MULTILINE), output
    assert {name: each["Id"] for name, each in machine.containers().items()} == before
