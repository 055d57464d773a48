"""Production with the layers that harden it and without them: what a start and a request cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import yaml

from bench.measure import measured
from bench.pairs import Loaded, figures, in_turns, ratio, under_load
from tests.live.stack import Stack

SETTINGS = {"DOMAIN": "netmon.localhost"}
CORES = 0.5
"""What the application may use: less than there is, so that its own work limits it, and not the load beside it."""
TARGET = "http://app:3000/api/health/live"

HARDENED, PLAIN = "prod", "plain"
LAYERS = ("docker-compose.secrets.yml", "docker-compose.security.yml")
"""What the second profile lacks of the first one: everything else is the same."""

OVERRIDE = f"""\
services:
  app:
    ports:
      - "127.0.0.1:${{APP_PORT}}:3000"
    networks:
      - edge-network
    deploy:
      resources:
        limits:
          cpus: "{CORES}"
"""
"""The application at a port of its own, to be asked directly."""


@dataclass(frozen=True)
class Round:
    """A start from empty volumes, in seconds until all is healthy, and the load that followed on it."""

    start: float
    load: Loaded


def rows(stack: Stack) -> Iterator[tuple[str, str]]:
    """Name and figure of each line."""
    add_profile(stack)
    (stack.root / "docker-compose.override.yml").write_text(OVERRIDE)
    stack.invoke("setup", f"--profile={HARDENED}")
    stack.invoke("images.prepare", timeout=900)
    pairs = in_turns(lambda hardened: measure(stack, HARDENED if hardened else PLAIN))
    for name, rounds in (("with the layers", [on for on, _ in pairs]), ("without", [off for _, off in pairs])):
        yield f"from nothing to healthy, {name}", f"{median(each.start for each in rounds):.1f} s"
        yield from figures(f"{CORES:g} cores {name}", [each.load for each in rounds])
    yield "start with ÷ without", ratio(pairs, lambda each: each.start)
    yield "throughput with ÷ without", ratio(pairs, lambda each: each.load.fast.rate)
    yield "p99 with ÷ without", ratio(pairs, lambda each: each.load.milliseconds(0.99))


def add_profile(stack: Stack) -> None:
    """Let the copy of the checkout have production without the layers as a profile of its own."""
    path = stack.root / "invoke.yaml"
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    profiles, images = data["stack"]["profiles"], data["stack"]["local_images"]
    profiles[PLAIN] = [layer for layer in profiles[HARDENED] if layer not in LAYERS]
    images[PLAIN] = images[HARDENED]
    path.write_text(yaml.safe_dump(data), encoding="utf-8")


def measure(stack: Stack, profile: str) -> Round:
    """Start a profile from nothing, and measure the application."""
    stack.destroy()
    with measured() as start:
        stack.invoke("up", f"--profile={profile}", "--no-smoke", timeout=900)
    probe = stack.probe(TARGET)
    paths = (f"/api/targets/{stack.result(probe)['target']}/latest", f"/api/probes/{probe}")
    return Round(start.wall, under_load(stack.url(), paths))
