"""Following the containers of a project: which of them are inspected again, and when."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest

from tests.unit.toolkit.conftest import FakeDocker
from tests.unit.toolkit.containers import container
from toolkit.core.errors import ToolkitError
from toolkit.engine import containers as module
from toolkit.engine.compose import Result
from toolkit.engine.containers import Containers

SOON = 30.0


class Engine:
    """Containers by id, and their events: `report` sends one to the reader of the stream."""

    def __init__(self, docker: FakeDocker) -> None:
        self.containers: dict[str, dict[str, Any]] = {}
        self.streaming = threading.Event()
        self._docker = docker
        docker.answer("ps", by=lambda _: Result(0, "\n".join(self.containers), ""))
        docker.answer("container", "inspect", by=self._inspect)
        docker.answer("events", by=self._stream)

    def add(self, service: str, health: str) -> str:
        found = container(service, health=health)
        self.containers[found["Id"]] = found
        return str(found["Id"])

    def report(self, identifier: str) -> None:
        assert self.streaming.wait(SOON)
        self._watch(identifier)

    def _inspect(self, argv: list[str]) -> Result:
        return Result(0, json.dumps([self.containers[name] for name in argv[3:] if name in self.containers]), "")

    def _stream(self, argv: list[str]) -> Result:
        options = self._docker.options[self._docker.calls.index(argv)]
        self._watch = options["watch"]
        self.streaming.set()
        assert options["stop"].wait(SOON), "the stream ends with the block"
        return Result(-15, "", "")


@pytest.fixture
def engine(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine with two starting containers; all are inspected again only when an event demands it."""
    monkeypatch.setattr(module, "PAUSE", SOON)
    found = Engine(docker)
    found.add("app", "starting")
    found.add("db", "starting")
    return found


def health(followed: Containers) -> dict[str, str]:
    return {state.service: state.health for state in followed.states}


def test_only_a_changed_container_is_inspected_again(docker: FakeDocker, engine: Engine) -> None:
    with Containers.following(docker.cli, "shop") as followed:
        assert health(followed) == {"app": "starting", "db": "starting"}
        engine.report(engine.add("db", "healthy"))
        followed.await_change(time.monotonic() + SOON)
    assert health(followed) == {"app": "starting", "db": "healthy"}
    assert docker.ran("container", "inspect")[1:] == [["docker", "container", "inspect", "id-db-1"]]
    [events] = docker.ran("events")
    assert {"label=com.docker.compose.project=shop", "event=health_status", "event=die"} < set(events)


def test_events_within_a_moment_are_one_inspection(docker: FakeDocker, engine: Engine) -> None:
    with Containers.following(docker.cli, "shop") as followed:
        for service in ("app", "db"):
            engine.report(engine.add(service, "healthy"))
        followed.await_change(time.monotonic() + SOON)
    assert health(followed) == {"app": "healthy", "db": "healthy"}
    assert len(docker.ran("container", "inspect")) == 2


def test_a_removed_container_is_forgotten_and_a_new_one_found(docker: FakeDocker, engine: Engine) -> None:
    with Containers.following(docker.cli, "shop") as followed:
        engine.containers.pop("id-db-1")
        engine.report("id-db-1")
        engine.report(engine.add("redis", "healthy"))
        followed.await_change(time.monotonic() + SOON)
    assert health(followed) == {"app": "starting", "redis": "healthy"}


def test_all_are_inspected_at_the_callers_request_and_after_the_pause(
    docker: FakeDocker, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Containers.following(docker.cli, "shop") as followed:
        engine.add("db", "healthy")
        followed.changed()
        followed.await_change(time.monotonic() + SOON)
        assert health(followed) == {"app": "starting", "db": "healthy"}
        monkeypatch.setattr(module, "PAUSE", 0.01)
        followed.refresh()
        engine.add("app", "healthy")
        followed.await_change(time.monotonic() + SOON)
    assert health(followed) == {"app": "healthy", "db": "healthy"}


def test_nothing_is_inspected_at_the_deadline(docker: FakeDocker, engine: Engine) -> None:
    with Containers.following(docker.cli, "shop") as followed:
        followed.await_change(time.monotonic())
    assert len(docker.ran("container", "inspect")) == 1


def test_without_events_all_are_inspected_after_each_pause(
    docker: FakeDocker, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.01)
    docker.answer("events", by=ToolkitError("the engine has no events"))
    with Containers.following(docker.cli, "shop") as followed:
        engine.add("db", "healthy")
        followed.await_change(time.monotonic() + SOON)
    assert health(followed) == {"app": "starting", "db": "healthy"}
