"""Rolling replacement of a service's containers, one at a time, without downtime."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from toolkit.checkout.project import Project
from toolkit.core import files
from toolkit.core.console import say
from toolkit.core.errors import ToolkitError
from toolkit.engine import wait
from toolkit.engine.compose import Docker
from toolkit.engine.health import ServiceState, container_states

SETTLE_SECONDS = 3.0
"""Seconds in which a new replica and the old one serve together: clients that cache the service's DNS records (the
proxy for 1 s, Prometheus for 2 s) see the new replica before the old one stops."""

DRAINING = "no"
"""The restart policy of a replica that is being stopped: the only mark that a running container can get."""

UP = ("--progress", "quiet", "up", "--detach", "--no-deps", "--no-build", "--pull", "never")


def replace(
    project: Project, docker: Docker, service: str, *, timeout: float, keep: Collection[str] = frozenset()
) -> None:
    """Start a new replica, wait until it is healthy, stop and remove an old one, until all are new.

    A service that publishes a fixed port cannot have two replicas: it is recreated, with downtime. After an interrupted
    run, ``keep`` names the containers that were already replaced; stopped or draining ones are replaced all the same.

    Args:
        project: The checkout.
        docker: Docker in its folder, with the settings of the new replicas.
        service: The service.
        timeout: Seconds for each new replica to become healthy.
        keep: The ids of containers that count as new.

    Raises:
        ToolkitError: a new replica cannot become healthy. It is removed then, and the old ones are unchanged; its log
            is in .netmon/SERVICE.log.
    """
    roll = _Roll(project, docker, service, timeout)
    if any(state.id not in keep for state in roll.containers()) and roll.fixed_port:
        say(f"  {service} publishes a fixed port and is recreated: requests may fail for some seconds", "warning")
        roll.recreate()
    else:
        roll.one_by_one(set(keep))


def recreate(project: Project, docker: Docker, service: str, *, timeout: float) -> None:
    """Stop the containers of a service and start new ones, with downtime. Arguments as in `replace`.

    Raises:
        ToolkitError: they cannot become healthy.
    """
    _Roll(project, docker, service, timeout).recreate()


class _Roll:
    def __init__(self, project: Project, docker: Docker, service: str, timeout: float) -> None:
        config = docker.effective()
        self._project, self._docker, self._service, self._timeout = project, docker, service, timeout
        self._name: str = config["name"]
        self._replicas = wait.expected_replicas(config).get(service, 0)
        self.fixed_port = publishes_fixed_port(config["services"][service])

    def containers(self) -> list[ServiceState]:
        """The containers of the service, except those being removed: stopped ones first, then by age."""
        found = [
            state
            for state in container_states(self._docker, self._name)
            if state.service == self._service and state.status != "removing"
        ]
        return sorted(found, key=lambda state: (state.status == "running", state.replica))

    def one_by_one(self, new: set[str]) -> None:
        new -= {state.id for state in self.containers() if _is_draining(state)}
        for dead in [state for state in self.containers() if state.status != "running" and state.id not in new]:
            self._remove(dead)  # Compose would restart it instead of creating a new one
        found = self.containers()
        if any(state.id not in new for state in found):
            self._wait_until_healthy([state for state in found if state.id in new])
        while True:
            found = self.containers()
            old = [state for state in found if state.id not in new]
            fresh = len(found) - len(old)
            if old and (len(found) > self._replicas or fresh >= self._replicas):
                self._retire(old[0])
            elif fresh < self._replicas:
                new |= self._start_one(found)
                if old:
                    time.sleep(SETTLE_SECONDS)
            elif fresh > self._replicas:
                self._retire(found[-1])
            else:
                return

    def recreate(self) -> None:
        started = self._docker.compose(*UP, "--force-recreate", self._service)
        self._docker.check(started, f"start {self._service}")
        self._wait_until_healthy(self.containers())

    def _start_one(self, before: Sequence[ServiceState]) -> set[str]:
        begun = time.monotonic()
        scale = f"{self._service}={len(before) + 1}"
        started = self._docker.compose(*UP, "--no-recreate", "--scale", scale, self._service)
        known = {state.id for state in before}
        made = [state for state in self.containers() if state.id not in known]
        if started.code:
            for state in made:
                self._remove(state)
            self._docker.check(started, f"start a replica of {self._service}")
        try:
            self._wait_until_healthy(made)
        except ToolkitError:
            for state in made:
                self._remove(state)
            raise
        say(f"  {', '.join(state.container for state in made)}: healthy after {time.monotonic() - begun:.1f} s")
        return {state.id for state in made}

    def _wait_until_healthy(self, made: Sequence[ServiceState]) -> None:
        """Return once these containers are healthy; else save their logs and raise the reason."""
        if not made:
            return
        try:
            wait.wait_for(self._docker, self._name, self._service, [state.id for state in made], self._timeout)
        except ToolkitError as error:
            path = self._project.lock_file.with_name(f"{self._service}.log")
            files.write_atomically(path, "".join(self._log(state) for state in made), mode=0o600)
            raise ToolkitError(error.what, error.why, f"{error.fix}\n       full log: {path}") from error

    def _log(self, state: ServiceState) -> str:
        result = self._docker("logs", "--timestamps", state.id)
        return result.stdout + result.stderr

    def _retire(self, state: ServiceState) -> None:
        """Drain a replica within its stop_grace_period and remove it.

        A draining replica looks healthy, also to the next run after an interruption: so it is marked.
        """
        begun = time.monotonic()
        self._docker("update", f"--restart={DRAINING}", state.id)
        self._docker.check(self._docker("stop", state.id), f"stop {state.container}")
        self._remove(state)
        say(f"  {state.container}: drained in {time.monotonic() - begun:.1f} s, removed")

    def _remove(self, state: ServiceState) -> None:
        self._docker.check(self._docker("rm", "--force", state.id), f"remove {state.container}")


def _is_draining(state: ServiceState) -> bool:
    """Whether a container no longer serves, or is draining."""
    return state.status in {"created", "exited", "dead"} or state.one_shot


def publishes_fixed_port(spec: Mapping[str, Any]) -> bool:
    """Whether a service publishes a single host port, which only one container can bind."""
    return any(str(port.get("published", "")).isdigit() for port in spec.get("ports") or ())
