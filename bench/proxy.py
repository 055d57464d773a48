"""The application through the reverse proxy and directly: cost of HTTPS, limits, headers and the access log."""

from __future__ import annotations

from collections.abc import Iterator

from bench.figure import Figure
from bench.load import Tls
from bench.pairs import Measurement, alternate, difference, figures_of, ratio, under_load
from tests.live.stack import Stack

SETTINGS = {"DOMAIN": "netmon.localhost", "CLIENT_REQUESTS_PER_SECOND": "0"}
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


def figures(stack: Stack) -> Iterator[Figure]:
    """Each variant, and their pairs."""
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
    yield from figures_of("proxied", "HTTPS through the proxy", [proxied for proxied, _ in pairs])
    yield from figures_of("direct", "directly", [direct for _, direct in pairs])
    label = "requests per second, through the proxy ÷ directly"
    yield ratio("rate-ratio", label, pairs, lambda each: each.closed_loop.rate, "more")
    for quantile, share in (("p50", 0.5), ("p99", 0.99)):
        yield difference(f"{quantile}-added", f"{quantile} latency added by the proxy", pairs, share)
