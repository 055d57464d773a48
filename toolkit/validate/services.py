"""What every service of the stack states: how its health is asked, what its log says, what it waits for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from toolkit.engine.health import HEALTH_URL
from toolkit.validate.checkout import Checkout, Configuration, is_job
from toolkit.validate.findings import Finding

PROBES = "monitoring/prometheus/scrape/blackbox.yml"

Service = tuple[Configuration, str, dict[str, Any]]


def _services(checkout: Checkout, *, jobs: bool) -> Iterator[Service]:
    """Every service of every layer combination, with or without those that run to their end."""
    tools = checkout.project.data["tools"]
    for each in checkout.whole:
        for name, service in each.services.items():
            if jobs or not is_job(each, name, tools):
                yield each, name, service


def _probed(checkout: Checkout) -> set[str]:
    """The addresses that the blackbox exporter is made to ask."""
    return {scalar.value for scalar in checkout.source(PROBES).scalars()}


def health(checkout: Checkout) -> Iterator[Finding]:
    """The health of every long-running service is asked often while it starts, or by a scrape job from outside."""
    probed = _probed(checkout)
    for each, name, service in _services(checkout, jobs=False):
        check = service.get("healthcheck", {})
        path = ("services", name, "healthcheck")
        if check.get("disable") or check.get("test", ["NONE"]) in (["NONE"], []):
            url = service.get("labels", {}).get(HEALTH_URL)
            problem = "" if url is None or url in probed else f"no scrape job of {PROBES} probes {url}"
            yield checkout.place(each.files, "services", name, "labels", HEALTH_URL, problem=problem)
            continue
        for key in ("interval", "timeout", "retries", "start_period", "start_interval"):
            missing = "" if check.get(key) else f"the health check of {name} has no {key}"
            yield checkout.place(each.files, *path, key, problem=missing)


def logging(checkout: Checkout) -> Iterator[Finding]:
    """The log of every service says of which one it is."""
    for each, name, service in _services(checkout, jobs=True):
        missing = (
            "" if service.get("logging", {}).get("options", {}).get("labels") else f"the log of {name} has no labels"
        )
        yield checkout.place(each.files, "services", name, "logging", "options", "labels", problem=missing)


def dependencies(checkout: Checkout) -> Iterator[Finding]:
    """What a service waits for can come true: health only of what has a health check, completion only of jobs."""
    for each, name, service in _services(checkout, jobs=True):
        for other, how in service.get("depends_on", {}).items():
            check = each.services.get(other, {}).get("healthcheck", {})
            endless = how["condition"] == "service_healthy" and (check.get("disable") or not check.get("test"))
            problem = f"{name} waits for the health of {other}, which has no health check" if endless else ""
            yield checkout.place(each.files, "services", name, "depends_on", other, problem=problem)
