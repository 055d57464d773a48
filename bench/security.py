"""Production with the layers that harden it and without them: what a start and a request cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

import yaml

from bench.load import Answers, most, paced
from bench.measure import measured
from tests.live.stack import Stack

SETTINGS = {"DOMAIN": "netmon.localhost"}
ROUNDS = 5
SECONDS = 10.0
CONNECTIONS = 8
CORES = 0.5
"""What the application may use: less than there is, so that its own work limits it, and not the load beside it."""
RATE = 100.0
"""Requests a second when latencies are measured: what one process bears easily."""
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
    fast: Answers
    steady: Answers


def rows(stack: Stack) -> Iterator[tuple[str, str]]:
    """Name and figure of each line. The two take turns, each begins as often, and ratios are taken pair by pair."""
    add_profile(stack)
    (stack.root / "docker-compose.override.yml").write_text(OVERRIDE)
    stack.invoke("setup", f"--profile={HARDENED}")
    stack.invoke("images.prepare", timeout=900)
    pairs = []
    for number in range(ROUNDS):
        order = (HARDENED, PLAIN) if number % 2 else (PLAIN, HARDENED)
        figures = {profile: measure(stack, profile) for profile in order}
        pairs.append((figures[HARDENED], figures[PLAIN]))
    for name, which in (("with the layers", 0), ("without", 1)):
        rounds = [pair[which] for pair in pairs]
        yield f"from nothing to healthy, {name}", f"{median(each.start for each in rounds):.1f} s"
        yield f"requests a second from {CORES:g} cores, {name}", f"{median(each.fast.rate for each in rounds):.0f}"
        p50, p99 = (median(each.steady.quantile(share) for each in rounds) * 1000 for share in (0.5, 0.99))
        yield f"latency at {RATE:.0f} requests a second, {name}", f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
    yield "start with ÷ without", ratio(pairs, lambda each: each.start)
    yield "throughput with ÷ without", ratio(pairs, lambda each: each.fast.rate)
    yield "p99 with ÷ without", ratio(pairs, lambda each: each.steady.quantile(0.99))


def ratio(pairs: list[tuple[Round, Round]], figure: Callable[[Round], float]) -> str:
    """The median of the pairs' ratios, and their range."""
    ratios = [figure(hardened) / figure(plain) for hardened, plain in pairs]
    return f"{median(ratios):.3f} x (of {len(ratios)}: {min(ratios):.3f} to {max(ratios):.3f})"


def add_profile(stack: Stack) -> None:
    """Let the copy of the checkout have production without the layers as a profile of its own."""
    path = stack.root / "invoke.yaml"
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    profiles, images = data["stack"]["profiles"], data["stack"]["local_images"]
    profiles[PLAIN] = [layer for layer in profiles[HARDENED] if layer not in LAYERS]
    images[PLAIN] = images[HARDENED]
    path.write_text(yaml.safe_dump(data), encoding="utf-8")


def measure(stack: Stack, profile: str) -> Round:
    """Start a profile from nothing, and measure the application when it is warm."""
    stack.destroy()
    with measured() as start:
        stack.invoke("up", f"--profile={profile}", "--no-smoke", timeout=900)
    probe = stack.probe(TARGET)
    paths = (f"/api/targets/{stack.result(probe)['target']}/latest", f"/api/probes/{probe}")
    most(stack.url(), paths, CONNECTIONS, SECONDS / 2)
    return Round(start.wall, most(stack.url(), paths, CONNECTIONS, SECONDS), paced(stack.url(), paths, RATE, SECONDS))
