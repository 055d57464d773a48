"""Checks of every service: health check, log labels, dependencies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from toolkit.core.durations import seconds
from toolkit.engine.health import HEALTH_URL
from toolkit.validate.checkout import Checkout, Configuration, is_job
from toolkit.validate.findings import Finding

STARTING = ("start_period", "start_interval")
"""The settings that are the same in every health check: for the start of a service."""
PROBES = "monitoring/prometheus/scrape/blackbox.yml"

Service = tuple[Configuration, str, dict[str, Any]]


def _services(checkout: Checkout, *, jobs: bool) -> Iterator[Service]:
    """Every service of every layer combination, with or without one-off jobs."""
    tools = checkout.project.data["tools"]
    for each in checkout.full_configurations:
        for name, service in each.services.items():
            if jobs or not is_job(each, name, tools):
                yield each, name, service


def _probed_urls(checkout: Checkout) -> set[str]:
    """The URLs that the blackbox exporter probes."""
    return {scalar.value for scalar in checkout.source(PROBES).scalars()}


def health(checkout: Checkout) -> Iterator[Finding]:
    """Every long-running service has a health check, with the start settings of x-health, or is probed."""
    probed = _probed_urls(checkout)
    default: dict[str, str] = checkout.source(checkout.base).data["x-health"]
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
            if not problem and key in STARTING and seconds(check[key]) != seconds(default.get(key, "0")):
                problem = f"the health check of {name} has a {key} other than that of x-health in {checkout.base}"
            yield checkout.place(each.files, *path, key, problem=problem)


def intervals(checkout: Checkout) -> Iterator[Finding]:
    """No two services have the same interval above that of x-health: their checks would always run at the same time."""
    frequent = seconds(checkout.source(checkout.base).data["x-health"]["interval"])
    for each in checkout.full_configurations:
        users: dict[float, str] = {}
        for name, service in each.services.items():
            interval = (service.get("healthcheck") or {}).get("interval")
            if interval is None or seconds(interval) <= frequent:
                continue
            first = users.setdefault(seconds(interval), name)
            same = f"the health checks of {first} and {name} have the same interval, {interval}"
            problem = "" if first == name else same
            yield checkout.place(each.files, "services", name, "healthcheck", "interval", problem=problem)


def logging(checkout: Checkout) -> Iterator[Finding]:
    """Every service uses x-logging, with the labels of project and service."""
    default = checkout.source(checkout.base).data["x-logging"]
    for each, name, service in _services(checkout, jobs=True):
        options = service.get("logging", {}).get("options", {})
        problem = "" if options.get("labels") else f"the log of {name} has no labels"
        if not problem and service["logging"] != default:
            problem = f"the logging of {name} differs from x-logging in {checkout.base}"
        yield checkout.place(each.files, "services", name, "logging", "options", "labels", problem=problem)


def dependencies(checkout: Checkout) -> Iterator[Finding]:
    """No service waits for the health of a service without a health check."""
    for each, name, service in _services(checkout, jobs=True):
        for other, how in service.get("depends_on", {}).items():
            check = each.services.get(other, {}).get("healthcheck", {})
            never_met = how["condition"] == "service_healthy" and (check.get("disable") or not check.get("test"))
            problem = f"{name} waits for the health of {other}, which has no health check" if never_met else ""
            yield checkout.place(each.files, "services", name, "depends_on", other, problem=problem)
