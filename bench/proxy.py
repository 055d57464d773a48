"""The application through the reverse proxy and directly: what HTTPS, limits, headers and the access log cost."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from bench.load import Answers, Tls, most, paced
from tests.live.stack import Stack

SETTINGS = {"DOMAIN": "netmon.localhost"}
ROUNDS = 5
SECONDS = 10.0
CONNECTIONS = 8
RATE = 100.0
"""Requests a second when latencies are measured: what one process of the application bears easily."""
TARGET = "http://app:3000/api/health/live"

PUBLISHED = """\
services:
  app:
    ports:
      - "127.0.0.1:${APP_PORT}:3000"
    networks:
      - edge-network
"""
"""The application at a port of its own as well, to be asked directly."""


def rows(stack: Stack) -> Iterator[tuple[str, str]]:
    """Name and figure of each line; the two take turns, and differences are taken pair by pair."""
    (stack.root / "docker-compose.override.yml").write_text(PUBLISHED)
    stack.invoke("up", "--profile=prod", "--no-smoke", timeout=900)
    front = stack.front()
    probe = stack.probe(TARGET)
    paths = (f"/api/targets/{stack.result(probe)['target']}/latest", f"/api/probes/{probe}")

    def measure(through: bool) -> tuple[Answers, Answers]:
        base = f"http://127.0.0.1:{front.encrypted}" if through else stack.url()
        tls = Tls(front.trust(), front.domain) if through else None
        most(base, paths, CONNECTIONS, SECONDS / 5, tls)
        return most(base, paths, CONNECTIONS, SECONDS, tls), paced(base, paths, RATE, SECONDS, tls)

    pairs = []
    for number in range(ROUNDS):
        order = (True, False) if number % 2 else (False, True)
        measured = {through: measure(through) for through in order}
        pairs.append((measured[True], measured[False]))
    for name, which in (("through the proxy", 0), ("directly", 1)):
        yield f"requests a second, {name}", f"{median(pair[which][0].rate for pair in pairs):.0f}"
        p50, p99 = (median(pair[which][1].quantile(share) for pair in pairs) * 1000 for share in (0.5, 0.99))
        yield f"latency at {RATE:.0f} requests a second, {name}", f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
    ratios = [through[0].rate / direct[0].rate for through, direct in pairs]
    yield (
        "throughput through the proxy ÷ directly",
        f"{median(ratios):.3f} x (of {ROUNDS}: {min(ratios):.3f} to {max(ratios):.3f})",
    )
    for share, quantile in (("p50", 0.5), ("p99", 0.99)):
        added = [(through[1].quantile(quantile) - direct[1].quantile(quantile)) * 1000 for through, direct in pairs]
        yield (
            f"{share} through the proxy, more than directly",
            f"{median(added):+.2f} ms (of {ROUNDS}: {min(added):+.2f} to {max(added):+.2f})",
        )
