"""Smoke checks: use the stack as its clients do, from this host and from a container inside, in parallel."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from toolkit.checkout.project import Project
from toolkit.checkout.scrape_jobs import metrics_pages
from toolkit.checks import hostchecks, proxy
from toolkit.checks.hostchecks import Host
from toolkit.checks.logins import is_external_app
from toolkit.checks.proxy import Proxy
from toolkit.core.errors import ToolkitError
from toolkit.core.polling import CheckError
from toolkit.core.report import Columns, Finding, Outcome, Report, one_line
from toolkit.engine.compose import Docker
from toolkit.engine.health import container_states
from toolkit.images import unavailable
from toolkit.observe.stack import Stack

HOST, INSIDE = "host", "inside"
PAGES = "METRICS_PAGES"
"""The variable in which the service ``smoke`` finds the metrics pages: an object of JSON, URLs by service."""


COLUMNS: Columns = {
    "check": lambda finding: finding.check,
    "from": lambda finding: finding.subject,
    "outcome": lambda finding: finding.outcome,
    "time": lambda finding: f"{finding.seconds:.2f} s",
    "detail": one_line,
}


def report(findings: Sequence[Finding]) -> Report:
    """The report of the smoke checks; the subject of each finding is the place where it ran."""
    return Report("smoke checks", findings, COLUMNS, "see the table; invoke status and invoke logs show the services")


@dataclass(frozen=True)
class Plan:
    """The configured services, to decide which checks can run."""

    services: Mapping[str, Mapping[str, Any]]
    enabled: frozenset[str]
    unavailable: frozenset[str] = frozenset()

    @classmethod
    def read(cls, project: Project, docker: Docker) -> tuple[str, Plan]:
        """The Compose project's name, and the plan of its effective configuration."""
        active, every = docker.effective(), docker.effective(every_group=True)
        missing = frozenset(unavailable.services(project))
        return active["name"], cls(every["services"], frozenset(active["services"]), missing)

    @property
    def expected(self) -> list[str]:
        """The services that should be running, in the order of the configuration."""
        return [name for name in self.services if name in self.enabled and not self.unavailable_reason(name)]

    def unavailable_reason(self, service: str) -> str:
        """Why a service is not available for a check; empty if it should be running."""
        spec = self.services.get(service)
        if spec is None:
            return f"the configuration has no service {service}"
        if service in self.unavailable:
            return f"{service} is {unavailable.REASON}"
        if service not in self.enabled:
            return f"{service} is disabled (group {', '.join(spec.get('profiles') or ())})"
        if (spec.get("deploy") or {}).get("replicas") == 0:
            return f"{service} has no replicas"
        return ""

    def uses_external_app(self) -> bool:
        """Whether ``app`` is another application."""
        return is_external_app(self.services)

    def published(self, service: str) -> bool:
        """Whether a service is reachable from outside: at its own port, or the application through the proxy."""
        entries = (service, proxy.SERVICE) if service == "app" else (service,)
        return any(self.services.get(entry, {}).get("ports") for entry in entries)

    def skip_reason(self, check: hostchecks.HostCheck) -> str:
        """Why a check from the host is skipped; empty if it can run."""
        for service in check.services:
            if reason := self.unavailable_reason(service):
                return reason
        if not check.inside and not self.published(check.services[0]):
            return f"the profile publishes no port of {check.services[0]}"
        if check.own_app and self.uses_external_app():
            return "another application is configured (APP_IMAGE, APP_CONTEXT)"
        return ""


def smoke(project: Project, docker: Docker, timeout: float) -> Report:
    """Run every check that the profile and its groups allow, in parallel.

    Args:
        project: The checkout, with the credentials of the clients.
        docker: Docker in its folder.
        timeout: Seconds for all of them.

    Returns:
        A report with the checks in a fixed order; a check that did not run is never counted as passed.

    Raises:
        ToolkitError: the configuration or the engine cannot be queried.
    """
    name, plan = Plan.read(project, docker)
    stop = threading.Event()
    found = container_states(docker, name)
    stack = Stack.of(project, docker, found, plan.unavailable)
    front_proxy = Proxy.find(docker, plan.services, found)
    host = Host(project, plan.services, found, time.monotonic() + timeout, stop, stack, front_proxy)
    # Services that the profile does not define are not reported.
    checks = [check for check in hostchecks.CHECKS if check.services[0] in plan.services]
    with ThreadPoolExecutor(len(checks) + 1) as pool:
        try:
            inside = pool.submit(_inside_findings, docker, name, plan, timeout, stop)
            outside = [pool.submit(_run_on_host, check, host, plan) for check in checks]
            return report([*(each.result() for each in outside), *inside.result()])
        finally:
            stop.set()


def _run_on_host(check: hostchecks.HostCheck, host: Host, plan: Plan) -> Finding:
    where = INSIDE if check.inside else HOST
    if reason := plan.skip_reason(check):
        return Finding.skipped(check.name, where, reason)
    started = time.monotonic()
    try:
        detail, outcome = check.run(host), Outcome.OK
    except CheckError as error:
        detail, outcome = str(error), Outcome.FAILED
    except ToolkitError as error:
        detail, outcome = f"{error.what}: {error.why}", Outcome.FAILED
    except Exception as error:  # any error of a client library fails the check
        detail, outcome = f"{type(error).__name__}: {error}", Outcome.FAILED
    return Finding(check.name, outcome, detail, subject=where, seconds=time.monotonic() - started)


def _inside_findings(docker: Docker, project: str, plan: Plan, timeout: float, stop: threading.Event) -> list[Finding]:
    """A finding for every service that should be running, in configuration order, and for unavailable ones."""
    expected = plan.expected
    pages = {name: url for name, url in metrics_pages(docker.root).items() if name in expected}
    done = {check.check: check for check in _run_inside(docker, project, expected, pages, timeout, stop)}
    used = {service for check in hostchecks.CHECKS for service in check.services}
    checks = [check for name, check in done.items() if check.outcome is not Outcome.SKIPPED or name not in used]
    order = {name: number for number, name in enumerate(expected)}
    missing = [Finding.skipped(name, INSIDE, plan.unavailable_reason(name)) for name in sorted(plan.unavailable)]
    return [*sorted(checks, key=lambda check: order.get(check.check, len(order))), *missing]


def _run_inside(
    docker: Docker,
    project: str,
    expected: Sequence[str],
    pages: Mapping[str, str],
    timeout: float,
    stop: threading.Event,
) -> Iterator[Finding]:
    """The checks of the service ``smoke``; one that it does not report has failed.

    Of a service without a check it requests the metrics page, one of ``pages``. They are in a variable, not among the
    arguments: the images of earlier releases ignore it.
    """
    container = f"{project}-smoke-{uuid4().hex[:8]}"
    started = time.monotonic()
    output, why, completed = "", "it did not report", False
    try:
        result = docker.compose(
            "run", "--rm", "--no-deps", "--no-TTY", "--env", f"{PAGES}={json.dumps(pages)}", "--name", container,
            "smoke", "smoke", "--only", *expected,
            timeout=timeout, stop=stop,
        )  # fmt: skip
        output, completed = result.stdout, bool(result.stdout) and result.code in {0, 1}
        if lines := result.stderr.strip().splitlines():
            why = f"it did not report: {lines[-1]}"
    except ToolkitError as error:
        why = error.why or error.what
    if not completed:
        docker("rm", "--force", container)
    seconds = time.monotonic() - started
    reported = {check.check: check for line in output.splitlines() if (check := read_line(line))}
    missing = {name: _inside_finding(name, Outcome.FAILED, why, seconds) for name in expected if name not in reported}
    yield from (reported | missing).values()


def read_line(line: str) -> Finding | None:
    """A finding in the output of the service ``smoke``; None for any other line."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        record = json.loads(line)
        outcome = Outcome.SKIPPED if record["ok"] is None else Outcome.OK if record["ok"] is True else Outcome.FAILED
        return _inside_finding(str(record["check"]), outcome, str(record["detail"]), float(record["ms"]) / 1000)
    return None


def _inside_finding(check: str, outcome: Outcome, detail: str, seconds: float) -> Finding:
    return Finding(check, outcome, detail, subject=INSIDE, seconds=seconds)
