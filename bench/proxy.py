"""The application through the reverse proxy and directly: cost of HTTPS, limits, headers and the access log."""

from __future__ import annotations

from collections.abc import Iterator

from bench.load import Tls
from bench.pairs import Measurement, alternate, difference, figures, ratio, under_load
from tests.live.stack import Stack

SETTINGS = {"DOMAIN": "netmon.localhost"}
TARGET = "http://app:3000/api/health/live"

PUBLISHED = """\
services:
  app:
    ports:
      - "127.0.0.1:${APP_PORT}:3000"
    networks:
      - edge-network
"""
"""Publishes the application on a port of its own, for direct requests."""


def rows(stack: Stack) -> Iterator[tuple[str, str]]:
    """Label and value of each line."""
    (stack.root / "docker-compose.override.yml").write_text(PUBLISHED)
    stack.invoke("up", "--profile=prod", "--no-smoke", timeout=900)
    front = stack.proxy()
    probe = stack.probe(TARGET)
    paths = (f"/api/targets/{stack.result(probe)['target']}/latest", f"/api/probes/{probe}")

    def measure(proxied: bool) -> Measurement:
        if not proxied:
            return under_load(stack.url(), paths)
        return under_load(f"http://127.0.0.1:{front.https_port}", paths, Tls(front.ssl_context(), front.domain))

    pairs = alternate(measure)
    yield from figures("through the proxy", [proxied for proxied, _ in pairs])
    yield from figures("directly", [direct for _, direct in pairs])
    yield "throughput through the proxy ÷ directly", ratio(pairs, lambda each: each.closed_loop.rate)
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        yield f"{name} through the proxy, minus {name} directly", difference(pairs, share)
