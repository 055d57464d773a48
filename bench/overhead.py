"""The application with monitoring and without: maximum throughput, and latency at a sustainable rate."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from bench.figure import Figure
from bench.load import closed_loop
from bench.pairs import Measurement, alternate, difference, figures_of, ratio, under_load
from tests.live.stack import Stack, until

CORES = 0.5
"""The application's CPU limit while throughput is measured: below the capacity of the machine, which it shares with the
load generator and with monitoring, so that its own work is the bottleneck."""
PRODUCTION_CORES = 2
"""Its limit in production, while latency is measured: at half a core, the engine stops it for tens of milliseconds
whenever it has used 50 ms of CPU time within 100 ms."""
TARGET = "http://app:3000/api/health/live"


def figures(stack: Stack) -> Iterator[Figure]:
    """Each variant, and their pairs."""
    override = {"services": {"app": {"deploy": {"resources": {"limits": {"cpus": str(CORES)}}}}}}
    (stack.root / "docker-compose.override.yml").write_text(yaml.safe_dump(override))
    stack.invoke("up", "--no-smoke", timeout=900)
    pairs = alternate(lambda monitored: measure(stack, monitored))
    yield from figures_of("with", "with monitoring", [on for on, _ in pairs])
    yield from figures_of("without", "without monitoring", [off for _, off in pairs])
    label = "requests per second, with ÷ without monitoring"
    yield ratio("rate-ratio", label, pairs, lambda each: each.closed_loop.rate, "more")
    yield difference("p99-added", "p99 latency added by monitoring", pairs, 0.99)


def measure(stack: Stack, monitored: bool) -> Measurement:
    """Switch monitoring and the application's traces on or off, and measure a fresh process."""
    group = "--with=monitoring" if monitored else "--without=monitoring"
    endpoint = {} if monitored else {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}
    production = {"LOG_LEVEL": "info", "NODE_ENV": "production"}
    stack.invoke("up", group, "--no-smoke", env=endpoint | production)
    stack.run("docker", "compose", "up", "--detach", "--no-deps", "--force-recreate", "--wait", "app",
              env=endpoint | production)  # fmt: skip
    probe = stack.probe(TARGET)
    target = stack.result(probe)["target"]
    paths = (f"/api/targets/{target}/latest", f"/api/probes/{probe}")
    until(lambda: closed_loop(stack.url(), paths, 1, 0.5).rate, 20, "the application to answer")
    return under_load(
        stack.url(),
        paths,
        between=lambda: stack.docker("update", f"--cpus={PRODUCTION_CORES}", stack.container("app")["Id"]),
    )
