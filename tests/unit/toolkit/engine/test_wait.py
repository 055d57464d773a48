"""Waiting for services: success, fast failure, timeout, and their messages."""

from __future__ import annotations

import json
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any, cast

import pytest
from rich.console import Console

from tests.unit.toolkit.conftest import FakeDocker, configuration
from tests.unit.toolkit.containers import container, state
from toolkit.core.errors import ToolkitError
from toolkit.engine import containers, health, shapes
from toolkit.engine import wait as module
from toolkit.engine.compose import Result
from toolkit.engine.health import parse_container
from toolkit.engine.wait import Service, Watch, dependencies, expected_replicas, group_by_service, last_lines, wait

MARKER = 'relation "platform.initialisation" does not exist'
PASSWORD = "password authentication failed"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "PAUSE", 0.001)
    monkeypatch.setattr(health, "RETRY", 0)


def polls(docker: FakeDocker, *each: list[dict[str, Any]]) -> None:
    """Script the containers of each poll; the last ones stay."""
    rest = list(each)
    now: list[dict[str, Any]] = []

    def listed(_argv: list[str]) -> Result:
        now[:] = rest.pop(0) if len(rest) > 1 else rest[0]
        return Result(0, "\n".join(found["Id"] for found in now), "")

    docker.answer("ps", "--all", by=listed)
    docker.answer("container", "inspect", by=lambda _argv: Result(0, json.dumps(now), ""))
    docker.on("logs", stdout="2026-01-01T00:00:00.000000001Z hello\n")


def configure(docker: FakeDocker, **services: dict[str, Any]) -> None:
    docker.on("compose", "config", stdout=configuration(**services))


def finished(code: int = 0, stderr: str = "") -> Future[Result]:
    future: Future[Result] = Future()
    future.set_result(Result(code, "", stderr))
    return future


def test_wait_returns_when_all_services_are_healthy(docker: FakeDocker, capsys: pytest.CaptureFixture[str]) -> None:
    configure(docker, db={}, migrate={})
    job = container("migrate", "exited", None, policy="no")
    polls(docker, [], [container(health="starting")], [container(), job])
    wait(docker.cli, 5)
    lines = [line.split("(")[0].split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["db", "not", "created"],
        ["migrate", "not", "created"],
        ["db", "starting"],
        ["db", "healthy"],
        ["migrate", "exited", "with", "code", "0"],
    ]


def test_wait_for_named_services_ignores_others(docker: FakeDocker) -> None:
    configure(docker, db={}, redis={})
    polls(docker, [container("db"), container("redis", "exited", code=1)])
    wait(docker.cli, 5, ["db"])
    with pytest.raises(ToolkitError, match="redis cannot become healthy"):
        wait(docker.cli, 5, ["redis"])


def test_an_unknown_service_is_a_usage_error(docker: FakeDocker) -> None:
    configure(docker, db={}, redis={})
    with pytest.raises(ToolkitError, match="unknown service 'datenbank': known: db, redis") as raised:
        wait(docker.cli, 5, ["datenbank"])
    assert raised.value.code == 2


def test_expected_replicas_of_the_configuration() -> None:
    config = configuration(
        one={}, none={"deploy": {"replicas": 0}}, three={"deploy": {"replicas": 3}}, two={"scale": 2}
    )
    assert expected_replicas(config) == {"one": 1, "three": 3, "two": 2}
    with pytest.raises(ToolkitError, match="nothing to wait for"):
        expected_replicas(config, ["none"])
    with pytest.raises(ToolkitError, match="nothing to wait for"):
        expected_replicas(configuration())


def test_a_service_is_ready_when_every_replica_is() -> None:
    two = [state("worker"), state("worker", number=2, health="starting")]
    [worker] = group_by_service(two, {"worker": 3})
    assert (worker.ready, worker.summary) == (False, "healthy, starting, 1 not created")
    [worker] = group_by_service([two[0], state("worker", number=2)], {"worker": 2})
    assert (worker.ready, worker.summary) == (True, "healthy")
    [more_than_configured] = group_by_service(two, {"worker": 1})
    assert not more_than_configured.ready


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": "exited", "code": 1}, "exited with code 1"),
        ({"status": "restarting", "restarts": 4}, "keeps restarting, 4 restarts"),
        ({"status": "created", "error": "port is already allocated"}, "engine error: port is already allocated"),
        ({"status": "paused"}, "paused"),
    ],
)
def test_wait_fails_fast_on_an_unrecoverable_container(docker: FakeDocker, fields: dict[str, Any], reason: str) -> None:
    configure(docker, db={}, kafka={})
    polls(docker, [container("db", **fields), container("kafka", health="starting")])
    with pytest.raises(ToolkitError, match="db cannot become healthy") as raised:
        wait(docker.cli, 2)
    assert reason in raised.value.why
    assert "| hello" in raised.value.why
    assert raised.value.fix


@pytest.mark.parametrize(("sign", "fix"), [(MARKER, "down --volumes"), (PASSWORD, "secrets.check")])
def test_wait_fails_fast_on_a_permanent_cause_while_starting(docker: FakeDocker, sign: str, fix: str) -> None:
    configure(docker, db={})
    polls(docker, [container("db", health="starting", checks=[(3, 3, sign), (2, 3, sign), (1, 3, sign)])])
    with pytest.raises(ToolkitError) as raised:
        wait(docker.cli, 2)
    assert sign in raised.value.why
    assert "likely cause:" in raised.value.why
    assert fix in raised.value.fix


def test_cause_is_found_above_the_lines_that_are_shown(docker: FakeDocker) -> None:
    configure(docker, rabbitmq={})
    polls(docker, [container("rabbitmq", "restarting", restarts=4)])
    lines = ["wal_checksum_validation_failure", *(f"stack trace {number}" for number in range(100))]
    log = [f"2026-01-01T00:00:00.{number:09d}Z {line}\n" for number, line in enumerate(lines)]
    docker.answer("logs", by=lambda argv: Result(0, "".join(log[-int(argv[argv.index("--tail") + 1]) :]), ""))
    with pytest.raises(ToolkitError) as raised:
        wait(docker.cli, 2)
    assert "invoke repair --service=rabbitmq (loses the queued jobs" in raised.value.fix
    assert raised.value.why.count("| stack trace") == 15


def test_timeout_reports_each_service_that_is_not_healthy(docker: FakeDocker) -> None:
    configure(docker, db={}, app={})
    polls(docker, [container("db", health="starting", checks=[(1, 1, "no response\n")])])
    with pytest.raises(ToolkitError, match=r"not all services became healthy within 0\.01 s") as raised:
        wait(docker.cli, 0.01)
    assert "db: starting: no response" in raised.value.why
    assert "app: not created" in raised.value.why
    assert "--service=db --service=app" in raised.value.fix


class TestUnrecoverable:
    """Containers that can no longer become healthy."""

    @staticmethod
    def unrecoverable(watch: Watch, *services: Service, starting: bool = False) -> list[str]:
        return [service.name for service, _ in watch.unrecoverable(services, starting=starting)]

    @staticmethod
    def watch(started: float = 30) -> Watch:
        return Watch(datetime.now(UTC) - timedelta(seconds=started))

    @staticmethod
    def service(name: str, **fields: Any) -> Service:
        return Service(name, 1, (state(name, **fields),))

    def unhealthy(self, name: str, checked: float) -> Service:
        return self.service(name, health="unhealthy", checks=[(checked, 1, "no")])

    def test_unhealthy_with_a_recent_check(self) -> None:
        assert self.unrecoverable(self.watch(), self.unhealthy("app", 5), self.service("db")) == ["app"]

    def test_not_with_a_check_from_before_the_wait(self) -> None:
        assert self.unrecoverable(self.watch(), self.unhealthy("app", 40), self.service("db")) == []

    def test_not_while_another_service_is_starting(self) -> None:
        assert self.unrecoverable(self.watch(), self.unhealthy("app", 5), self.service("db", health="starting")) == []

    def test_not_before_a_check_after_the_last_change_of_another_service(self) -> None:
        watch, app, db = self.watch(), self.unhealthy("app", 5), self.service("db")
        watch.changed["db"] = datetime.now(UTC) - timedelta(seconds=2)
        assert self.unrecoverable(watch, app, db) == []
        watch.changed = {"app": datetime.now(UTC)}
        assert self.unrecoverable(watch, app, db) == ["app"]

    def test_two_unhealthy_services_are_unrecoverable_together(self) -> None:
        assert self.unrecoverable(self.watch(), self.unhealthy("app", 5), self.unhealthy("db", 40)) == []
        assert self.unrecoverable(self.watch(), self.unhealthy("app", 5), self.unhealthy("db", 4)) == ["app", "db"]

    def test_an_exited_container_is_unrecoverable_immediately(self) -> None:
        exited = self.service("db", status="exited", code=1)
        assert self.unrecoverable(self.watch(), exited, self.unhealthy("app", 40)) == ["db"]

    def test_failures_from_before_the_start_are_ignored(self) -> None:
        before = self.service("db", status="exited", code=1, started=60)
        assert self.unrecoverable(self.watch(), before, starting=True) == []
        since = self.service("db", status="exited", code=1, started=5)
        assert self.unrecoverable(self.watch(), since, starting=True) == ["db"]

    def test_update_records_changes(self) -> None:
        watch, before = self.watch(), self.service("db", health="starting")
        watch.update([before])
        watch.update([before])
        assert watch.changed == {}
        watch.update([self.service("db")])
        assert list(watch.changed) == ["db"]
        assert 29 < watch.seconds("db") < 32


class TestStart:
    """Waiting beside `docker compose up`."""

    def test_a_healthy_stack_still_waits_for_compose(self, docker: FakeDocker) -> None:
        configure(docker, db={})
        polls(docker, [container("db")])
        wait(docker.cli, 5, starting=finished())
        never_ending: Future[Result] = Future()
        with pytest.raises(ToolkitError, match="docker compose up has not finished"):
            wait(docker.cli, 0.01, starting=never_ending)

    def test_a_failure_of_compose_is_reported(self, docker: FakeDocker) -> None:
        configure(docker, db={})
        polls(docker, [])
        with pytest.raises(ToolkitError, match="cannot start the stack: no such image"):
            wait(docker.cli, 5, starting=finished(1, "no such image: x"))

    def test_a_failed_container_is_reported_instead_of_the_error_of_compose(self, docker: FakeDocker) -> None:
        configure(docker, db={})
        polls(docker, [container("db", "restarting", None, restarts=1, code=78)])
        error = "dependency failed to start: container db exited (78)"
        with pytest.raises(ToolkitError, match="db cannot become healthy") as raised:
            wait(docker.cli, 5, starting=finished(1, error))
        assert "| hello" in raised.value.why


def test_last_lines_of_both_streams_are_in_chronological_order(docker: FakeDocker) -> None:
    stamp = "2026-01-01T00:00:00.{:09d}Z"
    docker.on("logs", "--tail", "15", stdout=f"{stamp.format(1)} one\n{stamp.format(3)} three\n",
              stderr=f"{stamp.format(2)} two\n")  # fmt: skip
    assert last_lines(docker.cli, state()) == ["one", "two", "three"]
    assert last_lines(docker.cli, state(), 15)[-1] == "three"
    docker.on("logs", "--since", "2026-01-01", "id-db-1", stdout=f"{stamp.format(4)} four\n")
    assert last_lines(docker.cli, state(), since="2026-01-01") == ["four"]
    docker.on("logs", code=1, stderr="no such container")
    assert last_lines(docker.cli, state()) == []


def test_a_terminal_shows_a_live_table(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = StringIO()
    terminal = Console(file=screen, force_terminal=True, width=80)
    monkeypatch.setattr(module, "console", lambda: terminal)
    configure(docker, db={}, app={})
    polls(docker, [container("db", health="starting")], [container("db"), container("app")])
    wait(docker.cli, 5)
    assert "✓" in screen.getvalue()
    assert "healthy" in screen.getvalue()


class TestHttpHealth:
    """A service without a health check of its own, whose health is requested over HTTP."""

    URL = "http://otel-collector:13133/"

    @pytest.fixture(autouse=True)
    def _configured(self, docker: FakeDocker) -> None:
        configure(docker, **{"worker": {}, "otel-collector": {}})

    def collector(self, **fields: Any) -> dict[str, Any]:
        return container("otel-collector", health=None, labels={"netmon.health.url": self.URL}, **fields)

    @staticmethod
    def answers(docker: FakeDocker, *problems: str) -> None:
        rest = list(problems)

        def answer(_argv: list[str]) -> Result:
            problem = rest.pop(0) if len(rest) > 1 else rest[0]
            return docker.result([{"status": 0 if problem else 200, "headers": {}, "body": "", "error": problem}])

        docker.answer("exec", "id-worker-1", "python", by=answer)

    def test_wait_includes_it(self, docker: FakeDocker, capsys: pytest.CaptureFixture[str]) -> None:
        polls(docker, [container("worker"), self.collector(started=1)])
        self.answers(docker, "connection refused", "")
        wait(docker.cli, 5)
        lines = [line.split()[:2] for line in capsys.readouterr().out.splitlines() if "otel" in line]
        assert lines == [["otel-collector", "starting"], ["otel-collector", "healthy"]]
        assert self.URL in docker.inputs[-1]

    def test_one_request_while_others_are_starting_is_enough(self, docker: FakeDocker) -> None:
        starting, collector = container("worker", health="starting"), self.collector(started=1)
        polls(docker, [starting, collector], [starting, collector], [container("worker"), collector])
        self.answers(docker, "")
        wait(docker.cli, 5)
        assert len(docker.ran("exec")) == 1

    def test_no_request_before_a_container_runs_that_can_send_it(self, docker: FakeDocker) -> None:
        polls(docker, [container("worker", "created", None), self.collector(started=1)])
        with pytest.raises(ToolkitError, match="not all services became healthy"):
            wait(docker.cli, 0.01)
        assert docker.ran("exec") == []

    def test_a_restarted_container_is_requested_again(self, docker: FakeDocker) -> None:
        over_http = health.HttpHealth(docker.cli)
        self.answers(docker, "", "connection refused")
        for started, expected in ((5.0, "healthy"), (1.0, "starting")):
            found = [state("worker"), parse_container(cast(shapes.Container, self.collector(started=started)))]
            assert over_http.add(found, {"otel-collector"})[1].health == expected

    def test_it_is_unrecoverable_without_a_response_after_its_start_period(self, docker: FakeDocker) -> None:
        polls(docker, [container("worker"), self.collector(started=100)])
        self.answers(docker, "connection refused")
        with pytest.raises(ToolkitError, match="otel-collector cannot become healthy") as raised:
            wait(docker.cli, 5)
        assert "connection refused" in raised.value.why
        assert "| hello" in raised.value.why

    def test_without_a_worker_the_timeout_reports_the_reason(self, docker: FakeDocker) -> None:
        polls(docker, [self.collector(started=1)])
        docker.on("exec", code=1, stderr='service "worker" is not running')
        with pytest.raises(ToolkitError, match="not all services became healthy") as raised:
            wait(docker.cli, 0.01, ["otel-collector"])
        assert 'service "worker" is not running' in raised.value.why


LOOPING: dict[str, Any] = {"status": "restarting", "health": "starting", "restarts": 4}
CHAIN: dict[str, dict[str, Any]] = {
    "kafka-exporter": {"depends_on": {"kafka": {}}},
    "kafka": {"depends_on": {"disk": {}}},
    "disk": {},
}


def test_dependencies_are_transitive() -> None:
    assert dependencies(configuration(**CHAIN)) == {
        "kafka-exporter": {"kafka", "disk"},
        "kafka": {"disk"},
        "disk": frozenset(),
    }


@pytest.mark.parametrize("waiting", ["kafka", "disk"])
def test_a_crash_loop_is_recoverable_while_a_dependency_is_starting(waiting: str) -> None:
    watch = Watch(dependencies=dependencies(configuration(**CHAIN)))
    found = group_by_service(
        [
            state("kafka-exporter", started=0, **LOOPING),
            *(state(name, health="starting" if name == waiting else "healthy") for name in ("kafka", "disk")),
        ],
        dict.fromkeys(CHAIN, 1),
    )
    watch.update(found)
    assert watch.unrecoverable(found, starting=False) == []


@pytest.mark.parametrize(("started", "failed"), [(30, False), (-1, True)])
def test_a_crash_loop_is_unrecoverable_after_its_dependencies_are_ready(started: float, *, failed: bool) -> None:
    watch = Watch(dependencies=dependencies(configuration(**CHAIN)))
    looping = state("kafka-exporter", started=started, **LOOPING)
    found = group_by_service([looping, state("kafka"), state("disk")], dict.fromkeys(CHAIN, 1))
    watch.update(found)
    assert [each.service for _, each in watch.unrecoverable(found, starting=False)] == ["kafka-exporter"] * failed


def test_a_crash_loop_without_a_dependency_is_unrecoverable_while_others_are_starting() -> None:
    watch = Watch(dependencies=dependencies(configuration(**CHAIN)))
    found = group_by_service([state("disk", **LOOPING), state("kafka", health="starting")], {"disk": 1, "kafka": 1})
    watch.update(found)
    assert [each.service for _, each in watch.unrecoverable(found, starting=False)] == ["disk"]
