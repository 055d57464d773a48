"""The application with monitoring and without: requests a second at most, and latencies at a rate that it can bear."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from bench.load import most
from bench.pairs import Loaded, added, figures, in_turns, ratio, under_load
from tests.live.stack import Stack, until

CORES = 0.5
"""What the application may use: less than there is, so that its own work limits it, and not the machine, which it
shares with the load and with the services of monitoring."""
TARGET = "http://app:3000/api/health/live"


def rows(stack: Stack) -> Iterator[tuple[str, str]]:
    """Name and figure of each line."""
    override = {"services": {"app": {"deploy": {"resources": {"limits": {"cpus": str(CORES)}}}}}}
    (stack.root / "docker-compose.override.yml").write_text(yaml.safe_dump(override))
    stack.invoke("up", "--no-smoke", timeout=900)
    pairs = in_turns(lambda monitored: measure(stack, monitored))
    yield from figures(f"{CORES:g} cores with monitoring", [on for on, _ in pairs])
    yield from figures(f"{CORES:g} cores without", [off for _, off in pairs])
    yield "throughput with ÷ without", ratio(pairs, lambda each: each.fast.rate)
    yield "p99 with monitoring, more than without", added(pairs, 0.99)


def measure(stack: Stack, monitored: bool) -> Loaded:
    """Switch monitoring on or off, the application's traces too, and measure a fresh process."""
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
    return under_load(stack.url(), paths)
