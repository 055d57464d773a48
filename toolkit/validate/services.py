"""What every service of the stack states: its health, its end, its log, its limits, what it waits for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from toolkit.health import HEALTH_URL
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
    """Every long-running service has a health check that is asked often while it starts, or is asked from outside."""
    probed = _probed(checkout)
    for each, name, service in _services(checkout, jobs=False):
        check = service.get("healthcheck", {})
        path = ("services", name, "healthcheck")
        if check.get("disable") or check.get("test", ["NONE"]) in (["NONE"], []):
            if url := service.get("labels", {}).get(HEALTH_URL):
                problem = "" if url in probed else f"no scrape job of {PROBES} probes {url}"
                yield checkout.place(each.files, "services", name, "labels", HEALTH_URL, problem=problem)
            else:
                yield checkout.place(each.files, *path, problem=f"{name} has no health check")
            continue
        for key in ("interval", "timeout", "retries", "start_period", "start_interval"):
            missing = "" if check.get(key) else f"the health check of {name} has no {key}"
            yield checkout.place(each.files, *path, key, problem=missing)


def restart(checkout: Checkout) -> Iterator[Finding]:
    """Every long-running service is started again when it ends."""
    for each, name, service in _services(checkout, jobs=False):
        policy = service.get("restart", "no")
        problem = f"{name} is not started again when it ends" if policy == "no" else ""
        yield checkout.place(each.files, "services", name, "restart", problem=problem)


def logging(checkout: Checkout) -> Iterator[Finding]:
    """Every service logs to bounded json-files that name the service."""
    for each, name, service in _services(checkout, jobs=True):
        path = ("services", name, "logging")
        log = service.get("logging", {})
        if log.get("driver") != "json-file":
            yield checkout.place(each.files, *path, "driver", problem=f"{name} does not log to json-file")
            continue
        for key in ("max-size", "max-file", "labels"):
            missing = "" if log.get("options", {}).get(key) else f"the log of {name} has no {key}"
            yield checkout.place(each.files, *path, "options", key, problem=missing)


def limits(checkout: Checkout) -> Iterator[Finding]:
    """Every service has a limit of memory and of processor time."""
    for each, name, service in _services(checkout, jobs=True):
        limit = service.get("deploy", {}).get("resources", {}).get("limits", {})
        for key in ("memory", "cpus"):
            missing = "" if limit.get(key) else f"{name} has no limit of {key}"
            yield checkout.place(each.files, "services", name, "deploy", "resources", "limits", key, problem=missing)


def dependencies(checkout: Checkout) -> Iterator[Finding]:
    """What a service waits for can come true: health only of what has a health check, completion only of jobs."""
    for each, name, service in _services(checkout, jobs=True):
        for other, how in service.get("depends_on", {}).items():
            check = each.services.get(other, {}).get("healthcheck", {})
            endless = how["condition"] == "service_healthy" and (check.get("disable") or not check.get("test"))
            problem = f"{name} waits for the health of {other}, which has no health check" if endless else ""
            yield checkout.place(each.files, "services", name, "depends_on", other, problem=problem)
