"""The containers of a project, followed by the engine's events: only containers that changed are inspected again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue

from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Docker
from toolkit.engine.health import ServiceState, by_service, container_states, parse_container

PAUSE = 3.0
"""Seconds between two inspections of all containers: a failed health check of a starting container causes no event."""

SETTLING = 0.1
"""Seconds from an event to its inspection, which includes the containers of all events until then: each inspection
takes CPU time from the services that are starting."""

EVENTS = ("health_status", "die", "destroy")
"""The events that can end a wait; creations and starts are seen in the inspections of all containers."""


class Containers:
    """The states of a project's containers, without one-off containers."""

    def __init__(self, docker: Docker, project: str) -> None:
        self._docker, self._project = docker, project
        self._changed: SimpleQueue[str] = SimpleQueue()
        self.refresh()

    @classmethod
    @contextmanager
    def following(cls, docker: Docker, project: str) -> Iterator[Containers]:
        """The containers, followed by the engine's events until the end of the block.

        Raises:
            ToolkitError: the engine does not answer.
        """
        since = f"{time.time():.3f}"
        followed, ended = cls(docker, project), threading.Event()
        labels = (f"com.docker.compose.project={project}", "com.docker.compose.oneoff=False")
        filters = (*(f"label={label}" for label in labels), *(f"event={event}" for event in EVENTS))
        words = [word for each in filters for word in ("--filter", each)]

        def follow() -> None:
            with suppress(ToolkitError):  # without events, all containers are inspected every `PAUSE`
                docker("events", "--since", since, "--format={{.Actor.ID}}", *words, stop=ended, watch=followed.changed)

        threading.Thread(target=follow).start()
        try:
            yield followed
        finally:
            ended.set()

    @property
    def states(self) -> list[ServiceState]:
        """The latest states, by service and replica."""
        return by_service(self._states.values())

    def refresh(self) -> None:
        """Inspect all containers.

        Raises:
            ToolkitError: the engine does not answer.
        """
        self._next_refresh = time.monotonic() + PAUSE
        self._states = {state.id: state for state in container_states(self._docker, self._project)}

    def changed(self, container: str = "") -> None:
        """End the current or the next `await_change`, from any thread; default: all containers may have changed."""
        self._changed.put(container)

    def await_change(self, deadline: float) -> None:
        """Wait until a container has changed, for at most `PAUSE` or until ``deadline``, and update the states.

        Raises:
            ToolkitError: the engine does not answer.
        """
        changed = self._changed_until(min(deadline, self._next_refresh))
        if "" in changed or time.monotonic() >= self._next_refresh:
            self.refresh()
            return
        for container in changed:
            self._states.pop(container, None)
        self._states |= {state.id: state for state in map(parse_container, self._docker.inspect(*changed))}

    def _changed_until(self, end: float) -> set[str]:
        """The next containers that change; empty if none does."""
        try:
            first = self._changed.get(timeout=max(end - time.monotonic(), 0))
        except Empty:
            return set()
        time.sleep(SETTLING)
        changed = {first}
        while not self._changed.empty():
            changed.add(self._changed.get())
        return changed
