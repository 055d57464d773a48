"""Start-up time from empty volumes, compared with the machine's limits and with other ways to start the same files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from statistics import median

import yaml

from bench.measure import CORES, Span, measured
from tests.live.stack import Stack

ROUNDS = 3
# Common health timings: a first check after 10 s or 30 s, and no start interval.
SLOW_HEALTH = {"interval": "30s", "timeout": "10s", "retries": 3}
SLOW_EXCEPTIONS = {"db": {"interval": "10s"}, "redis": {"interval": "10s"}}
# Services that a service needs to become healthy; depends_on names the database only. Monitoring services become
# healthy alone: an exporter reports an unavailable server in its metrics.
NEEDED = {"app": ("db",), "worker": ("db", "rabbitmq")}


def rows(stack: Stack) -> Iterator[tuple[str, str]]:
    """Label and value of each line. The images must be present; every start is on empty volumes."""
    stack.invoke("up", "--no-smoke", timeout=900)
    services = sorted(stack.services())
    effective = json.loads(stack.compose("config", "--format=json"))["services"]

    ours, verified, plain = [], [], []
    for _ in range(ROUNDS):
        stack.destroy()
        with measured() as whole:
            with measured() as up:
                stack.invoke("up", "--no-smoke")
            stack.invoke("smoke")
        ours.append(up.wall)
        verified.append(whole.wall)
        stack.destroy()
        with measured() as up:
            stack.compose("up", "--detach", "--wait", "--quiet-pull")
        plain.append(up.wall)

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
    yield "invoke up --no-smoke, all healthy", f"{median(ours):.1f} s"
    yield "invoke up, all healthy and smoke green", f"{median(verified):.1f} s"
    yield "slowest chain of services started alone", f"{slowest:.1f} s"
    yield f"all start-up CPU ÷ {CORES} cores", f"{share:.1f} s"
    yield "up ÷ the larger of these two", f"{median(ours) / floor:.2f} x"
    yield "plain docker compose up -d --wait", f"{median(plain):.1f} s ({median(plain) / median(ours):.2f} x ours)"
    yield "the same with a check every 30 s", f"{slow.wall:.1f} s ({slow.wall / median(ours):.2f} x ours)"
    for service, span in alone.items():
        yield f"  {service} alone", f"{span.wall:.1f} s, {span.cpu:.1f} s of CPU"


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
