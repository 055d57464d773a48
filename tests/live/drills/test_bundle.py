"""A bundle, made on a machine with a network, starts the stack on one without any."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from tests.live.machine import CHECKOUT, Machine, checks

Record = Callable[[str], None]

BUNDLE = "/srv/netmon.bundle"
HOST = "/srv/network-monitor"
"""The checkout from the bundle."""


def commit(machine: Machine, version: str = "v1.0.0") -> None:
    """Make the checkout of the machine a clone without changes."""
    identity = ("-c", "user.name=drill", "-c", "user.email=drill@example.org")
    machine.run("git", "init", "--quiet")
    machine.run("git", "add", "--all")
    machine.run("git", *identity, "commit", "--quiet", "--message=release")
    machine.run("git", "tag", version)


def empty(machine: Machine) -> None:
    """Remove the stack, every image and package, and the network."""
    machine.invoke("down", "--volumes", "--yes")
    machine.engine("image", "prune", "--all", "--force", timeout=600)
    machine.engine("builder", "prune", "--all", "--force", timeout=600)
    machine.run("rm", "-rf", f"{CHECKOUT}/.venv", "/root/.cache/pip", folder="/", check=False)
    machine._docker("rm", "--force", f"{machine.name}-registry")
    machine._docker("network", "disconnect", "bridge", machine.name)
    assert machine.engine("images", "--quiet") == ""
    assert machine.run("ip", "route", folder="/", check=False).stdout.find("default") == -1


def test_a_host_without_a_network_starts_from_a_bundle(machine: Machine, quickstart: str, record: Record) -> None:
    commit(machine)
    began = time.monotonic()
    made = machine.invoke("bundle", f"--output={BUNDLE}", timeout=1500).stdout
    record(f"made in {time.monotonic() - began:.0f} s, {re.search(r'[0-9.]+ GB, SHA', made)[0][:-5]}")  # type: ignore[index]
    assert "--bundle=../netmon.bundle" in made
    settings = machine.read(".env")
    empty(machine)

    machine.run("tar", "-xf", BUNDLE, "-C", "/srv", "network-monitor", folder="/")
    assert machine.run("git", "describe", "--tags", folder=HOST).stdout == "v1.0.0\n"
    start = ("scripts/quickstart.sh", "--bundle")
    damage = 'cp "$1" "$2" && printf x | dd of="$2" bs=1 seek=$(($(stat -c %s "$2") / 2)) conv=notrunc'
    machine.run("sh", "-c", damage, "damage", BUNDLE, f"{BUNDLE}.damaged", folder="/")
    refused = machine.run(*start, f"{BUNDLE}.damaged", folder=HOST, check=False)
    assert refused.returncode == 1
    assert "is damaged" in refused.stderr
    assert machine.engine("images", "--quiet") == ""
    machine.run("rm", f"{BUNDLE}.damaged", folder="/")

    began = time.monotonic()
    output = machine.run(*start, BUNDLE, folder=HOST, timeout=900).stdout
    record(f"started in {time.monotonic() - began:.0f} s")
    assert set(checks(output).values()) == {"ok"}
    [registry] = re.findall(r"^REGISTRY=.*$", settings, re.MULTILINE)
    assert registry in machine.run("cat", ".env", folder=HOST).stdout
    again = machine.run(".venv/bin/invoke", "up", "--no-smoke", folder=HOST).stdout
    assert "pull" not in again.lower().partition("▶ up")[0].replace("pulls or builds missing images", "")
