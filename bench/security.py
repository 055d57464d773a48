"""Production with the hardening layers and without them: cost of a start and of a request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from bench.figure import Figure
from bench.measure import measured
from bench.pairs import Measurement, alternate, figures_of, ratio, under_load
from tests.live.stack import Stack

SETTINGS = {"DOMAIN": "netmon.localhost", "CLIENT_REQUESTS_PER_SECOND": "0"}
CORES = 0.5
"""The application's CPU limit: below the capacity of the machine, which it shares with the load generator, so that its
own work is the bottleneck."""
TARGET = "http://app:3000/api/health/live"

HARDENED, PLAIN = "prod", "plain"
LAYERS = ("docker-compose.secrets.yml", "docker-compose.security.yml")
"""The layers of the first profile that the second one lacks: everything else is the same."""

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
"""Publishes the application on a port of its own, for direct requests."""


@dataclass(frozen=True)
class Round:
    """Seconds from empty volumes to a healthy stack, and the application under load afterwards."""

    start: float
    load: Measurement


def figures(stack: Stack) -> Iterator[Figure]:
    """Each variant, and their pairs."""
    add_profile(stack)
    (stack.root / "docker-compose.override.yml").write_text(OVERRIDE)
    stack.invoke("setup", f"--profile={HARDENED}")
    stack.invoke("images.prepare", timeout=900)
    pairs = alternate(lambda hardened: measure(stack, HARDENED if hardened else PLAIN))
    for key, rounds in (("with", [on for on, _ in pairs]), ("without", [off for _, off in pairs])):
        name = f"{key} the layers secrets and security"
        yield Figure(f"{key}-start", f"from empty volumes to healthy, {name}", "s", [each.start for each in rounds])
        yield from figures_of(key, f"{CORES:g} cores, {name}", [each.load for each in rounds])
    yield ratio("start-ratio", "start, with ÷ without the layers", pairs, lambda each: each.start)
    label = "requests per second, with ÷ without the layers"
    yield ratio("rate-ratio", label, pairs, lambda each: each.load.closed_loop.rate, "more")
    yield ratio("p99-ratio", "p99 latency, with ÷ without the layers", pairs, lambda each: each.load.latency_ms(0.99))


def add_profile(stack: Stack) -> None:
    """Add production without the layers, as a profile of its own, to the copy of the checkout."""
    path = stack.root / "invoke.yaml"
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    profiles, images = data["stack"]["profiles"], data["stack"]["local_images"]
    profiles[PLAIN] = [layer for layer in profiles[HARDENED] if layer not in LAYERS]
    images[PLAIN] = images[HARDENED]
    path.write_text(yaml.safe_dump(data), encoding="utf-8")


def measure(stack: Stack, profile: str) -> Round:
    """Start a profile from empty volumes and measure the application."""
    stack.destroy()
    with measured() as start:
        stack.invoke("up", f"--profile={profile}", "--no-smoke", timeout=900)
    probe = stack.probe(TARGET)
    paths = (f"/api/targets/{stack.result(probe)['target']}/latest", f"/api/probes/{probe}")
    return Round(start.wall, under_load(stack.url(), paths))
