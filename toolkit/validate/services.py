"""What every service of the stack states: how its health is asked, what its log says, what it waits for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from toolkit.core.durations import seconds
from toolkit.engine.health import HEALTH_URL
from toolkit.validate.checkout import Checkout, Configuration, is_job
from toolkit.validate.findings import Finding

STARTING = ("start_period", "start_interval")
"""What is the same for every health check: the time that a start may take, and how often it is checked meanwhile."""
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
    """Every long-running service has a health check, frequent during its start as x-health says, or is probed."""
    probed = _probed(checkout)
    usual: dict[str, str] = checkout.source(checkout.base).data["x-health"]
    for each, name, service in _services(checkout, jobs=False):
        check = service.get("healthcheck", {})
        path = ("services", name, "healthcheck")
        if check.get("disable") or check.get("test", ["NONE"]) in (["NONE"], []):
            url = service.get("labels", {}).get(HEALTH_URL)
            problem = "" if url is None or url in probed else f"no scrape job of {PROBES} probes {url}"
            yield checkout.place(each.files, "services", name, "labels", HEALTH_URL, problem=problem)
            continue
        for key in ("interval", "timeout", "retries", "start_period", "start_interval"):
            problem = "" if check.get(key) else f"the health check of {name} has no {key}"
            if not problem and key in STARTING and seconds(check[key]) != seconds(usual.get(key, "0")):
                problem = f"the health check of {name} has another {key} than x-health of {checkout.base}"
            yield checkout.place(each.files, *path, key, problem=problem)


def logging(checkout: Checkout) -> Iterator[Finding]:
    """Every service logs as x-logging says, and its log lines carry the names of project and service."""
    usual = checkout.source(checkout.base).data["x-logging"]
    for each, name, service in _services(checkout, jobs=True):
        options = service.get("logging", {}).get("options", {})
        problem = "" if options.get("labels") else f"the log of {name} has no labels"
        if not problem and service["logging"] != usual:
            problem = f"the log of {name} is not that of x-logging in {checkout.base}"
        yield checkout.place(each.files, "services", name, "logging", "options", "labels", problem=problem)


def dependencies(checkout: Checkout) -> Iterator[Finding]:
    """What a service waits for can come true: health only of what has a health check, completion only of jobs."""
    for each, name, service in _services(checkout, jobs=True):
        for other, how in service.get("depends_on", {}).items():
            check = each.services.get(other, {}).get("healthcheck", {})
            endless = how["condition"] == "service_healthy" and (check.get("disable") or not check.get("test"))
            problem = f"{name} waits for the health of {other}, which has no health check" if endless else ""
            yield checkout.place(each.files, "services", name, "depends_on", other, problem=problem)
