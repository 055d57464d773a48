"""Start-up time from empty volumes, compared with the machine's limits and with other ways to start the same files."""

from __future__ import annotations

import json
from collections.abc import Iterator

import yaml

from bench.figure import Figure
from bench.measure import CORES, Span, measured
from bench.pairs import alternate, ratio
from tests.live.stack import Stack

# Common health timings: a first check after 10 s or 30 s, and no start interval.
SLOW_HEALTH = {"interval": "30s", "timeout": "10s", "retries": 3}
SLOW_EXCEPTIONS = {"db": {"interval": "10s"}, "redis": {"interval": "10s"}}
# Services that a service needs to become healthy; depends_on names the database only. Monitoring services become
# healthy alone: an exporter reports an unavailable server in its metrics.
NEEDED = {"app": ("db",), "worker": ("db", "rabbitmq")}


def figures(stack: Stack) -> Iterator[Figure]:
    """Each way to start, and the limits. The images must be present; every start is on empty volumes."""
    stack.invoke("up", "--no-smoke", timeout=900)
    services = sorted(stack.services())
    effective = json.loads(stack.compose("config", "--format=json"))["services"]

    verified: list[float] = []
    pairs = alternate(lambda toolkit: start(stack, verified) if toolkit else start_plainly(stack))
    ours, plain = [toolkit for toolkit, _ in pairs], [other for _, other in pairs]

    alone = {service: start_alone(stack, service) for service in services}
    chain = alone["db"].wall + max(alone["app"].wall, alone["worker"].wall)
    slowest = max(chain, *(span.wall for span in alone.values()))
    share = sum(span.cpu for span in alone.values()) / CORES

    stack.destroy()
    override = stack.root / "docker-compose.override.yml"
    checked = [name for name in services if "healthcheck" in effective[name]]
    override.write_text(slow_checks(checked))
    stack.invoke("setup")
    with measured() as slow:
        stack.compose("up", "--detach", "--wait", "--quiet-pull")
    override.unlink()
    stack.invoke("setup")

    floor = max(slowest, share)
    yield Figure("up", "`invoke up --no-smoke`: all services healthy", "s", ours)
    yield Figure("verified", "`invoke up`: all services healthy, every smoke check passed", "s", verified)
    yield Figure("plain", "plain `docker compose up --detach --wait` with the same files", "s", plain)
    yield ratio("ratio", "`invoke up --no-smoke` ÷ plain `docker compose up --detach --wait`", pairs, float)
    yield Figure("slow-checks", "plain `docker compose up`, a health check every 30 s", "s", [slow.wall], "neither")
    yield Figure("slowest", "slowest chain of services started alone", "s", [slowest])
    yield Figure("cpu", f"CPU time of all services started alone ÷ {CORES} cores", "s", [share])
    yield Figure("floor-ratio", "`invoke up --no-smoke` ÷ the larger of these two", "", [each / floor for each in ours])
    for service, span in alone.items():
        yield Figure(f"alone-{service}", f"{service} alone", "s", [span.wall], detail=True)
        yield Figure(f"alone-{service}-cpu", f"{service} alone, CPU time", "s", [span.cpu], detail=True)


def start(stack: Stack, verified: list[float]) -> float:
    """Seconds that `invoke up --no-smoke` takes; those with the smoke checks are added to ``verified``."""
    stack.destroy()
    with measured() as whole:
        with measured() as up:
            stack.invoke("up", "--no-smoke")
        stack.invoke("smoke")
    verified.append(whole.wall)
    return up.wall


def start_plainly(stack: Stack) -> float:
    """Seconds that plain Compose takes with the same files."""
    stack.destroy()
    with measured() as up:
        stack.compose("up", "--detach", "--wait", "--quiet-pull")
    return up.wall


def slow_checks(services: list[str]) -> str:
    """An override with the slow timings for every service."""
    unset = {"start_period": "UNSET", "start_interval": "UNSET"}
    checks = {name: {"healthcheck": {**SLOW_HEALTH, **SLOW_EXCEPTIONS.get(name, {}), **unset}} for name in services}
    return yaml.safe_dump({"services": checks}).replace("UNSET", "!reset null")


def start_alone(stack: Stack, service: str) -> Span:
    """Start one service; the start of the services that it needs is not measured."""
    stack.destroy()
    if needed := NEEDED.get(service):
        stack.compose("up", "--detach", "--wait", "--no-deps", *needed)
    with measured() as span:
        stack.compose("up", "--detach", "--wait", "--no-deps", service)
    return span
