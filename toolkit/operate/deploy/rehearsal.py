"""Tests a new application beside the live one, before any client reaches it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolkit.checkout import credentials
from toolkit.checkout.project import Project
from toolkit.checks.hostchecks import QUEUED, TARGET
from toolkit.checks.smoke import Plan
from toolkit.core import files, polling
from toolkit.core.console import say
from toolkit.core.errors import ToolkitError
from toolkit.core.polling import CheckError
from toolkit.engine import health, wait
from toolkit.engine.compose import Docker
from toolkit.engine.stack_http import Request, Response, fetch
from toolkit.operate.deploy.release import APP, WORKER

ANSWER_SECONDS, PROBE_SECONDS = 15.0, 30.0
"""Timeouts: for the dependencies to be reachable, and for a probe to complete."""
POLL_SECONDS = 0.5
"""The pause between two inspections of the starting container."""


def rehearse(project: Project, docker: Docker, version: str, timeout: float) -> None:
    """Start a container of the new application under a name unknown to clients, and use it as a client does.

    Args:
        project: The checkout.
        docker: Docker in its folder, with the settings of the release.
        version: The version that the application must report, if it is this platform's own.
        timeout: Seconds for it to become healthy.

    Raises:
        ToolkitError: it does not become healthy, or a request fails; its log is in .netmon/app.log, and that of the new
            worker, which carries out its probe, in .netmon/worker.log.
    """
    name, plan = Plan.read(project, docker)
    begun = time.monotonic()
    with _candidate(project, docker, name, timeout) as host:
        try:
            external = plan.uses_external_app()
            done = _wait_until_ready(docker, host) if external else _exercise(project, docker, host, version)
        except CheckError as error:
            raise ToolkitError(f"the new {APP} does not work", str(error)) from error
    say(f"  {APP} {version}, tested beside the live one: {done} ({time.monotonic() - begun:.1f} s)")


def container_name(project: str) -> str:
    """The fixed name of the test container, by which later runs find it."""
    return f"{project}-{APP}-candidate"


def remove(docker: Docker, project: str) -> None:
    """Remove the test container, if present."""
    docker("rm", "--force", container_name(project))


@contextmanager
def _candidate(project: Project, docker: Docker, name: str, timeout: float) -> Iterator[str]:
    host = container_name(name)
    remove(docker, name)
    try:
        # A one-off container has no alias on the networks, so neither proxy nor Prometheus finds it.
        started = docker.compose("run", "--detach", "--no-deps", "--name", host, APP)
        docker.check(started, f"start the new {APP}")
        _wait_until_healthy(docker, host, timeout)
        yield host
    except ToolkitError as error:
        workers = [state.id for state in health.container_states(docker, name) if state.service == WORKER]
        saved = [_save_log(project, docker, APP, [host]), _save_log(project, docker, WORKER, workers)]
        fix = f"{error.fix}\n       " if error.fix else ""
        raise ToolkitError(error.what, error.why, f"{fix}full logs: {', '.join(map(str, saved))}") from error
    finally:
        remove(docker, name)


def _save_log(project: Project, docker: Docker, service: str, containers: Sequence[str]) -> Path:
    """Save the logs of these containers, which are removed with the failed release."""
    path = project.lock_file.with_name(f"{service}.log")
    logs = [docker("logs", "--timestamps", container) for container in containers]
    files.write_atomically(path, "".join(log.stdout + log.stderr for log in logs), mode=0o600)
    return path


def _wait_until_healthy(docker: Docker, host: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        found = tuple(map(health.parse_container, docker.inspect(host)))
        service = wait.Service(APP, 1, found)
        if failed := [state for state in found if state.status == "exited" or state.verdict is health.Verdict.FAILED]:
            raise wait.unhealthy_error(docker, [(service, failed[0])])
        if service.ready:
            return
        if time.monotonic() > deadline:
            raise wait.timeout_error([service], timeout)
        time.sleep(POLL_SECONDS)


def _wait_until_ready(docker: Docker, host: str) -> str:
    def reachable() -> Response | None:
        answer = _fetch(docker, Request(f"http://{host}:3000/api/health"))
        problems.append(answer.problem)
        return answer if answer.ok else None

    problems: list[str] = []
    try:
        polling.until("/api/health to answer 200", reachable, ANSWER_SECONDS)
    except CheckError as error:
        raise CheckError(f"{error}: {problems[-1]}") from error
    return "healthy"


def _exercise(project: Project, docker: Docker, host: str, version: str) -> str:
    """Send every kind of client request; the probe is executed by the worker."""
    _wait_until_ready(docker, host)
    reported = _document(_fetch(docker, Request(f"http://{host}:3000/api/health"))).get("version")
    if reported != version:
        raise CheckError(f"it reports version {reported} instead of {version}")
    access = credentials.authorization(project)
    request = Request.post(f"http://{host}:3000/api/probes", {"url": TARGET}, headers=access)
    accepted = _document(_fetch(docker, request), 202)

    def finished() -> dict[str, Any] | None:
        probe = _document(_fetch(docker, Request(f"http://{host}:3000/api/probes/{accepted['id']}")))
        return None if probe["status"] in QUEUED else probe

    result = polling.until("its probe to complete", finished, PROBE_SECONDS)
    if result.get("http_status") != 200:
        raise CheckError(f"its probe of {TARGET} ended with {result.get('error') or result.get('http_status')}")
    _document(_fetch(docker, Request(f"http://{host}:3000/api/targets/{accepted['target']}/latest")))
    return "healthy; probe accepted and completed; result and latest state read"


def _fetch(docker: Docker, request: Request) -> Response:
    return fetch(docker, [request])[0]


def _document(answer: Response, status: int = 200) -> dict[str, Any]:
    document = answer.json()
    if answer.status != status or not isinstance(document, dict):
        path = answer.url.partition(":3000")[2]
        raise CheckError(f"{path} returned {answer.problem or f'status {answer.status}: {answer.body[:200]}'}")
    return document
