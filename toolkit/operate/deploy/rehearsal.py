"""A new application tried out beside the one in use, before any client reaches it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
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
from toolkit.operate.deploy.release import APP

ANSWER, PROBE = 15.0, 30.0
"""Seconds for the dependencies to be reached, and for a probe to be carried out."""


def rehearse(project: Project, docker: Docker, version: str, timeout: float) -> None:
    """Start one container of the new application under a name that no client uses, and use it as a client does.

    Args:
        project: The checkout.
        docker: Docker in its folder, with the settings of the release.
        version: What the application has to call itself, if it is ours.
        timeout: Seconds for it to become healthy.

    Raises:
        ToolkitError: it does not become healthy, or does not do what it is for; its log is in .netmon/app.log.
    """
    name, plan = Plan.read(project, docker)
    begun = time.monotonic()
    with _candidate(project, docker, name, timeout) as host:
        try:
            done = _use(project, docker, host, version) if not plan.foreign_app() else _healthy(docker, host)
        except CheckError as error:
            raise ToolkitError(f"the new {APP} does not work", str(error)) from error
    say(f"  {APP} of {version}, asked beside the one in use: {done} ({time.monotonic() - begun:.1f} s)")


def container_name(project: str) -> str:
    """Of the container that is tried out; fixed, so that whoever cleans up finds it."""
    return f"{project}-{APP}-candidate"


def remove(docker: Docker, project: str) -> None:
    """Remove the container that is tried out, if it is there."""
    docker("rm", "--force", container_name(project))


@contextmanager
def _candidate(project: Project, docker: Docker, name: str, timeout: float) -> Iterator[str]:
    host = container_name(name)
    remove(docker, name)
    try:
        # A one-off container: it has no alias on the networks, so that neither proxy nor Prometheus finds it.
        started = docker.compose("run", "--detach", "--no-deps", "--name", host, APP)
        docker.check(started, f"start the new {APP}")
        _await(docker, host, timeout)
        yield host
    except ToolkitError as error:
        path = project.lock_file.with_name(f"{APP}.log")
        log = docker("logs", "--timestamps", host)
        files.write_atomically(path, log.stdout + log.stderr, mode=0o600)
        fix = f"{error.fix}\n       " if error.fix else ""
        raise ToolkitError(error.what, error.why, f"{fix}the whole log is in {path}") from error
    finally:
        remove(docker, name)


def _await(docker: Docker, host: str, timeout: float) -> None:
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
        time.sleep(wait.PAUSE)


def _healthy(docker: Docker, host: str) -> str:
    def reachable() -> Response | None:
        answer = _ask(docker, Request(f"http://{host}:3000/api/health"))
        problems.append(answer.problem)
        return answer if answer.ok else None

    problems: list[str] = []
    try:
        polling.until("/api/health to answer 200", reachable, ANSWER)
    except CheckError as error:
        raise CheckError(f"{error}: {problems[-1]}") from error
    return "healthy"


def _use(project: Project, docker: Docker, host: str, version: str) -> str:
    """Every kind of request that clients make; the probe takes the whole way through the worker."""
    _healthy(docker, host)
    told = _document(_ask(docker, Request(f"http://{host}:3000/api/health"))).get("version")
    if told != version:
        raise CheckError(f"it calls itself version {told} instead of {version}")
    wish = Request.post(f"http://{host}:3000/api/probes", {"url": TARGET}, headers=credentials.authorization(project))
    accepted = _document(_ask(docker, wish), 202)

    def finished() -> dict[str, Any] | None:
        probe = _document(_ask(docker, Request(f"http://{host}:3000/api/probes/{accepted['id']}")))
        return None if probe["status"] in QUEUED else probe

    result = polling.until("its probe to be carried out", finished, PROBE)
    if result.get("http_status") != 200:
        raise CheckError(f"its probe of {TARGET} ended with {result.get('error') or result.get('http_status')}")
    _document(_ask(docker, Request(f"http://{host}:3000/api/targets/{accepted['target']}/latest")))
    return "healthy, a probe accepted and carried out, its result and the latest state read"


def _ask(docker: Docker, request: Request) -> Response:
    return fetch(docker, [request])[0]


def _document(answer: Response, status: int = 200) -> dict[str, Any]:
    document = answer.json()
    if answer.status != status or not isinstance(document, dict):
        path = answer.url.partition(":3000")[2]
        raise CheckError(f"{path} is answered with {answer.problem or f'status {answer.status}: {answer.body[:200]}'}")
    return document
