"""The application with monitoring and without: requests a second at most, and latencies at a rate that it can bear."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import yaml

from bench.load import Answers, most, paced
from tests.live.stack import Stack, until

ROUNDS = 5
SECONDS = 10.0
CONNECTIONS = 8
CORES = 0.5
"""What the application may use: less than there is, so that its own work limits it, and not the machine, which it
shares with the load and with the services of monitoring."""
RATE = 100.0
"""Requests a second when latencies are measured: what one process bears easily."""
TARGET = "http://app:3000/api/health/live"


@dataclass(frozen=True)
class Round:
    """One measurement with monitoring, or one without."""

    fast: Answers
    steady: Answers


def rows(stack: Stack) -> Iterator[tuple[str, str]]:
    """Name and figure of each line. The two take turns, each begins as often, and ratios are taken pair by pair."""
    override = {"services": {"app": {"deploy": {"resources": {"limits": {"cpus": str(CORES)}}}}}}
    (stack.root / "docker-compose.override.yml").write_text(yaml.safe_dump(override))
    stack.invoke("up", "--no-smoke", timeout=900)
    pairs = []
    for number in range(ROUNDS):
        order = (True, False) if number % 2 else (False, True)
        measured = {monitored: measure(stack, monitored) for monitored in order}
        pairs.append((measured[True], measured[False]))
    for name, which in (("with monitoring", 0), ("without", 1)):
        rounds = [pair[which] for pair in pairs]
        yield f"requests a second from {CORES:g} cores, {name}", f"{median(each.fast.rate for each in rounds):.0f}"
        p50, p99 = (median(each.steady.quantile(share) for each in rounds) * 1000 for share in (0.5, 0.99))
        yield f"latency at {RATE:.0f} requests a second, {name}", f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
    ratios = [on.fast.rate / off.fast.rate for on, off in pairs]
    added = [(on.steady.quantile(0.99) - off.steady.quantile(0.99)) * 1000 for on, off in pairs]
    yield "throughput with ÷ without", f"{median(ratios):.3f} x (of {ROUNDS}: {min(ratios):.3f} to {max(ratios):.3f})"
    yield (
        "p99 with monitoring, more than without",
        f"{median(added):+.2f} ms (of {ROUNDS}: {min(added):+.2f} to {max(added):+.2f})",
    )


def measure(stack: Stack, monitored: bool) -> Round:
    """Switch monitoring on or off, the application's traces too, and measure a fresh process that is warm."""
    group = "--with=monitoring" if monitored else "--without=monitoring"
    endpoint = {} if monitored else {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}
    quiet = {"LOG_LEVEL": "info", "NODE_ENV": "production"}
    stack.invoke("up", group, "--no-smoke", env=endpoint | quiet)
    stack.run("docker", "compose", "up", "--detach", "--no-deps", "--force-recreate", "--wait", "app",
              env=endpoint | quiet)  # fmt: skip
    probe = stack.probe(TARGET)
    target = stack.result(probe)["target"]
    paths = (f"/api/targets/{target}/latest", f"/api/probes/{probe}")
    until(lambda: most(stack.url(), paths, 1, 0.5).rate, 20, "the application to answer")
    most(stack.url(), paths, CONNECTIONS, SECONDS / 2)
    return Round(most(stack.url(), paths, CONNECTIONS, SECONDS), paced(stack.url(), paths, RATE, SECONDS))
