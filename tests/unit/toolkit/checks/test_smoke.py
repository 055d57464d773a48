"""Smoke checks: selection, skips with reasons, and failures."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import pytest
import requests
import yaml

from tests.unit.toolkit.conftest import FakeDocker
from tests.unit.toolkit.containers import container, state
from tests.unit.toolkit.httpserver import Route, server
from toolkit.checkout import credentials
from toolkit.checkout.project import Project
from toolkit.checkout.scrape_jobs import FOLDER
from toolkit.checkout.setup import setup
from toolkit.checks import hostchecks
from toolkit.checks import smoke as module
from toolkit.checks.hostchecks import Host, HostCheck
from toolkit.checks.proxy import Proxy
from toolkit.checks.smoke import PAGES, Plan, read_line, report, smoke
from toolkit.core.errors import ToolkitError
from toolkit.core.polling import CheckError
from toolkit.core.report import Finding, Outcome
from toolkit.engine.compose import Docker
from toolkit.images import unavailable
from toolkit.observe import targets
from toolkit.observe.stack import Stack

OWN = {"image": "network-monitor:dev", "build": {"context": "/checkout/app"}}
PORTS = [{"target": 1}]
# Every service of `services` that should be running.
RUNNING = ["app", "worker", "db", "redis", "kafka", "rabbitmq", "prometheus", "alertmanager"]


def services(**changes: dict[str, Any] | None) -> dict[str, Any]:
    """Every service of a development stack; a change of None removes a service."""
    every: dict[str, Any] = {
        "app": {**OWN, "ports": PORTS},
        "worker": dict(OWN),
        "smoke": {**OWN, "profiles": ["tools"]},
        "db": {},
        "redis": {},
        "kafka": {"ports": PORTS},
        "rabbitmq": {"ports": PORTS},
        "prometheus": {"ports": PORTS, "profiles": ["monitoring"]},
        "alertmanager": {"ports": PORTS, "profiles": ["monitoring"]},
    }
    return {name: spec for name, spec in (every | changes).items() if spec is not None}


def plan(off: tuple[str, ...] = ("smoke",), **changes: dict[str, Any] | None) -> Plan:
    every = services(**changes)
    return Plan(every, frozenset(every) - set(off))


def check(name: str) -> HostCheck:
    return next(each for each in hostchecks.CHECKS if each.name == name)


@pytest.mark.parametrize(
    ("name", "given", "reason"),
    [
        ("probe", plan(), ""),
        ("probe", plan(app={**OWN, "image": "external:1", "ports": PORTS}), "another application"),
        ("probe", plan(app={**OWN, "build": {"context": "/external"}, "ports": PORTS}), "another application"),
        ("probe", plan(worker={**OWN, "deploy": {"replicas": 0}}), "worker has no replicas"),
        ("probe", plan(app=dict(OWN)), "publishes no port of app"),
        ("health", plan(app={**OWN, "image": "external:1", "ports": PORTS}), ""),
        ("health", plan(app=dict(OWN), proxy={"ports": PORTS}), ""),
        ("kafka", plan(kafka={}, proxy={"ports": PORTS}), "publishes no port of kafka"),
        ("kafka", plan(kafka={}), "publishes no port of kafka"),
        ("targets", plan(off=("smoke", "prometheus")), "disabled (group monitoring)"),
        ("targets", plan(prometheus=None), "has no service prometheus"),
        ("targets", plan(prometheus={}), ""),
        ("signals", plan(), "has no service otel-collector"),
        ("targets", replace(plan(), unavailable=frozenset({"prometheus"})), "prometheus is not in the local images"),
    ],
)
def test_host_check_is_skipped_with_its_reason(name: str, given: Plan, reason: str) -> None:
    found = given.skip_reason(check(name))
    assert reason in found if reason else not found


def finding(check: str, outcome: Outcome, detail: str, where: str = "inside", seconds: float = 0) -> Finding:
    return Finding(check, outcome, detail, subject=where, seconds=seconds)


def test_table_shows_place_and_duration_of_each_check(capsys: pytest.CaptureFixture[str]) -> None:
    report(
        [finding("redis", Outcome.FAILED, "no\nanswer", seconds=0.1), finding("kafka", Outcome.OK, "", "host")]
    ).show()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["check", "from", "outcome", "time", "detail"],
        ["redis", "inside", "failed", "0.10", "s", "no", "answer"],
        ["kafka", "host", "ok", "0.00", "s"],
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"check": "db", "ok": true, "ms": 12.5, "detail": "row"}', finding("db", Outcome.OK, "row", seconds=0.0125)),
        ('{"check": "db", "ok": false, "ms": 1, "detail": "x"}', finding("db", Outcome.FAILED, "x", seconds=0.001)),
        ('{"check": "db", "ok": "yes", "ms": 1, "detail": ""}', finding("db", Outcome.FAILED, "", seconds=0.001)),
        ('{"check": "x", "ok": null, "ms": 0, "detail": "no"}', finding("x", Outcome.SKIPPED, "no", seconds=0.0)),
        ('{"check": "db", "ms": 1, "detail": ""}', None),
        ("Container smoke Created", None),
        ("[1]", None),
    ],
)
def test_read_line_parses_findings_and_ignores_other_output(line: str, expected: Finding | None) -> None:
    assert read_line(line) == expected


class TestSmoke:
    """A complete run with fake checks from the host."""

    @pytest.fixture(autouse=True)
    def _prepared(self, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
        self.docker = docker
        monkeypatch.setattr(hostchecks, "CHECKS", (HostCheck("health", ("app",), lambda _host: "fine"),))
        docker.on("ps", stdout="id-app-1")
        docker.on("container", "inspect", stdout=[container("app")])
        docker.on("rm", "--force")
        self.configure()

    def configure(self, *off: str) -> None:
        every = services()
        enabled = {name: spec for name, spec in every.items() if name not in {"smoke", *off}}
        self.docker.on("config", stdout={"name": "netmon", "services": enabled})
        self.docker.on("--profile", "*", "config", stdout={"name": "netmon", "services": every})

    def reports(self, *names: str, code: int = 0, stderr: str = "") -> None:
        lines = [json.dumps({"check": name, "ok": True, "ms": 1, "detail": "did"}) for name in names]
        self.docker.on("run", "--rm", "smoke", code=code, stdout="\n".join(lines), stderr=stderr)

    def outcomes(self, project: Project) -> dict[tuple[str, str], str]:
        report = smoke(project, self.docker.cli, 5)
        return {(each.check, each.subject): each.outcome.value for each in report.findings}

    def test_every_running_service_is_checked(self, project: Project) -> None:
        self.reports(*RUNNING)
        assert set(self.outcomes(project).values()) == {"ok"}
        [run] = self.docker.ran("compose", "run")
        assert run[run.index("--only") + 1 :] == RUNNING
        assert self.docker.ran("rm") == [], "the command removes its own container"

    def test_metrics_pages_are_those_of_services_that_should_run(self, project: Project) -> None:
        folder = project.root / FOLDER
        folder.mkdir(parents=True)
        for name in ("alertmanager", "grafana"):
            job = {"job_name": name, "static_configs": [{"targets": [f"{name}:9093"]}]}
            (folder / f"{name}.yml").write_text(yaml.safe_dump({"scrape_configs": [job]}))
        self.reports(*RUNNING)
        self.outcomes(project)
        [run] = self.docker.ran("compose", "run")
        name, _, pages = run[run.index("--env") + 1].partition("=")
        assert (name, json.loads(pages)) == (PAGES, {"alertmanager": "http://alertmanager:9093/metrics"})

    def test_service_outside_the_profile_is_not_reported(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            hostchecks, "CHECKS", (*hostchecks.CHECKS, HostCheck("proxy", ("proxy",), hostchecks.proxy_check))
        )
        self.reports(*RUNNING)
        assert ("proxy", "host") not in self.outcomes(project)

    def test_disabled_group_is_not_checked(self, project: Project) -> None:
        self.configure("prometheus", "alertmanager")
        self.reports("app", "worker", "db", "redis", "kafka", "rabbitmq")
        assert set(self.outcomes(project).values()) == {"ok"}
        assert "prometheus" not in self.docker.ran("compose", "run")[0]

    def test_service_without_a_check_is_skipped_unless_another_check_uses_it(self, project: Project) -> None:
        lines = [
            json.dumps({"check": name, "ok": None if name in {"app", "db"} else True, "ms": 0, "detail": "none"})
            for name in RUNNING
        ]
        self.docker.on("run", "--rm", "smoke", stdout="\n".join(lines))
        found = self.outcomes(project)
        assert ("app", "inside") not in found, "the check `health` covers it"
        assert found["db", "inside"] == "skipped"

    def test_unavailable_services_are_skipped_by_name(self, project: Project) -> None:
        setup(project, "dev", images="local")
        every = services(grafana={"profiles": ["absent"]})
        enabled = {name: spec for name, spec in every.items() if name not in {"smoke", "grafana"}}
        self.docker.on("config", stdout={"name": "netmon", "services": enabled})
        self.docker.on("--profile", "*", "config", stdout={"name": "netmon", "services": every})
        self.reports(*RUNNING)
        found = self.outcomes(project)
        lacking = unavailable.services(project)
        assert "grafana" in lacking
        assert {found.pop((name, "inside")) for name in lacking} == {"skipped"}
        assert set(found.values()) == {"ok"}

    def test_missing_report_is_a_failure(self, project: Project) -> None:
        self.reports(*RUNNING[:-1], code=1)
        found = self.outcomes(project)
        assert found.pop(("alertmanager", "inside")) == "failed"
        assert set(found.values()) == {"ok"}

    def test_failed_container_fails_every_check_inside(self, project: Project) -> None:
        self.reports(code=125, stderr="pull access denied\n")
        report = smoke(project, self.docker.cli, 5)
        inside = [each for each in report.findings if each.subject == "inside"]
        assert [each.check for each in inside] == RUNNING
        assert {(each.outcome, each.detail) for each in inside} == {
            (Outcome.FAILED, "it did not report: pull access denied")
        }
        assert self.docker.ran("rm", "--force")

    def test_timeout_fails_and_removes_the_container(self, project: Project) -> None:
        self.docker.answer("run", "--rm", by=ToolkitError("docker compose run did not finish within 5 s"))
        assert self.outcomes(project)["db", "inside"] == "failed"
        assert self.docker.ran("rm", "--force")

    @pytest.mark.parametrize(
        ("error", "detail"),
        [
            (CheckError("no answer"), "no answer"),
            (ToolkitError("secrets/x.txt is refused", "it is empty"), "secrets/x.txt is refused: it is empty"),
            (KeyError("name"), "KeyError: 'name'"),
        ],
    )
    def test_exception_of_a_check_is_its_failure(
        self, project: Project, monkeypatch: pytest.MonkeyPatch, error: Exception, detail: str
    ) -> None:
        def broken(_host: Host) -> str:
            raise error

        self.reports(*RUNNING)
        monkeypatch.setattr(hostchecks, "CHECKS", (HostCheck("health", ("app",), broken),))
        first = smoke(project, self.docker.cli, 5).findings[0]
        assert (first.outcome, first.detail) == (Outcome.FAILED, detail)

    def test_ctrl_c_stops_the_checks(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(*_arguments: object) -> Finding:
            raise KeyboardInterrupt

        ended = threading.Event()

        def inside(*arguments: Any) -> list[Finding]:
            assert arguments[-1].wait(5), "the checks inside are stopped"
            ended.set()
            return []

        monkeypatch.setattr(module, "_run_on_host", interrupted)
        monkeypatch.setattr(module, "_inside_findings", inside)
        with pytest.raises(KeyboardInterrupt):
            smoke(project, self.docker.cli, 5)
        assert ended.is_set()


def host(project: Project, port: int, service: str = "app", seconds: float = 5, **changes: dict[str, Any]) -> Host:
    ports = {"1/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}
    project.secrets_dir.mkdir(exist_ok=True)
    credentials.path_of(project, "api_token").write_text(TOKEN)
    found = [state(service, ports=ports)]
    stack = Stack(project, Docker(project.root), services(**changes), frozenset({service}))
    return Host(project, stack.services, found, time.monotonic() + seconds, threading.Event(), stack)


TOKEN = "0123456789-the-token"


class App:
    """A fake of this platform's application; ``routes`` override its responses."""

    def __init__(self, **routes: Route) -> None:
        self.routes, self.jobs = routes, 3

    def __call__(self, method: str, path: str, headers: dict[str, str], _body: str) -> Route:
        if method == "POST" and headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {}, {}
        probe = {"id": "p1", "target": "t", "requested_at": REQUESTED, "finished_at": FINISHED, "status": "succeeded",
                 "http_status": 200, "error": None, "duration_ms": 12.0}  # fmt: skip
        name = {"/api/probes": "accept", "/api/probes/p1": "result", "/api/targets/t/latest": "latest",
                "/api/metrics": "metrics", "/api/health": "health"}[path]  # fmt: skip
        self.jobs += method == "POST"
        own: dict[str, Route] = {
            "accept": (202, probe | {"status": "queued"}, {}),
            "result": (200, probe, {}),
            "latest": (200, probe, {"X-Cache": "hit"}),
            "metrics": (200, f"# HELP x\nnetmon_jobs_published_total {self.jobs}.0\n", {}),
            "health": (200, {"status": "healthy", "checks": {"database": "ok", "redis": "ok"}}, {}),
        }
        return self.routes.get(name, own[name])


UNPUBLISHED: dict[str, Any] = {"kafka": {}}
REQUESTED, FINISHED = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"


def test_probe_reports_every_step(project: Project) -> None:
    with server(App()) as port:
        assert "probed in 12 ms, stored, cached, counted" in hostchecks.probe(host(project, port, **UNPUBLISHED))


def test_probe_accepts_a_newer_cached_state(project: Project) -> None:
    """Of two concurrent probes the one that finishes last stays in the cache."""
    other = {"requested_at": "2025-12-31T23:59:59Z", "finished_at": "2026-01-01T00:00:02Z"}
    with server(App(latest=(200, other, {"X-Cache": "hit"}))) as port:
        assert "cached" in hostchecks.probe(host(project, port, **UNPUBLISHED))


def test_probe_waits_for_its_event(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def events(_host: Host) -> Iterator[Callable[[str], str]]:
        def event_of(identifier: str) -> str:
            raise CheckError(f"no event of {identifier}")

        yield event_of

    monkeypatch.setattr(hostchecks, "events", events)
    with server(App()) as port, pytest.raises(CheckError, match="no event of p1"):
        hostchecks.probe(host(project, port))


@pytest.mark.parametrize(
    ("routes", "message"),
    [
        ({"accept": (503, {"title": "The job queue is not available"}, {})}, "answered 503 instead of 202"),
        ({"result": (404, {}, {})}, "answered 404 instead of 200"),
        ({"result": (200, {"status": "queued"}, {})}, "timeout after [01] s waiting for the probe to finish"),
        ({"result": (200, {"status": "failed", "http_status": None, "error": "refused"}, {})}, "returned refused"),
        ({"result": (200, {"status": "failed", "http_status": 500, "error": None}, {})}, "returned 500"),
        ({"latest": (200, {"finished_at": FINISHED}, {"X-Cache": "miss"})}, "latest state in the cache"),
        ({"latest": (200, {"finished_at": REQUESTED}, {"X-Cache": "hit"})}, "latest state in the cache"),
        ({"metrics": (200, "netmon_jobs_published_total 3\n", {})}, "did not increase"),
        ({"metrics": (200, "netmon_other_total 3\n", {})}, "has no netmon_jobs_published_total"),
    ],
)
def test_probe_fails_without_one_of_its_steps(project: Project, routes: dict[str, Route], message: str) -> None:
    with server(App(**routes)) as port, pytest.raises(CheckError, match=message):
        hostchecks.probe(host(project, port, seconds=1, **UNPUBLISHED))


def test_probe_without_metrics_does_not_check_the_counter(project: Project) -> None:
    app = {**OWN, "ports": PORTS, "environment": {"ENABLE_METRICS": "false"}}
    with server(App(metrics=(404, {}, {}))) as port:
        assert "counted" not in hostchecks.probe(host(project, port, app=app, **UNPUBLISHED))


@pytest.mark.parametrize(
    ("route", "message"),
    [
        ((503, {"checks": {"database": "ok", "redis": "error"}}, {}), "redis: error"),
        ((200, {"checks": {"redis": "error"}}, {}), "redis: error"),
        ((500, "<html>", {"Content-Type": "text/html"}), "answered 500 instead of 200"),
        ((200, {"status": "healthy"}, {}), "reports no dependencies"),
    ],
)
def test_health_fails_with_an_unhealthy_dependency(project: Project, route: Route, message: str) -> None:
    with server(App(health=route)) as port, pytest.raises(CheckError, match=message):
        hostchecks.health(host(project, port, seconds=0.1))


def test_dependency_that_was_slow_once_is_awaited(project: Project) -> None:
    answers: list[Route] = [(503, {"checks": {"kafka": "error"}}, {}), (200, {"checks": {"kafka": "ok"}}, {})]
    with server(lambda *_request: answers.pop(0)) as port:
        assert hostchecks.health(host(project, port)) == "kafka reachable"


def test_health_lists_the_dependencies(project: Project) -> None:
    with server(App()) as port:
        assert hostchecks.health(host(project, port)) == "database, redis reachable"


class RecordingProxy(Proxy):
    """A fake proxy that forwards to the application and records the requested paths."""

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        self.requested.append(path)
        return requests.request(method, f"http://127.0.0.1:{self.https_port}{path}", **{"timeout": 5, **options})  # noqa: S113

    @cached_property
    def requested(self) -> list[str]:
        return []


def test_checks_behind_a_proxy_use_the_proxy(project: Project) -> None:
    def app(method: str, path: str, headers: dict[str, str], body: str) -> Route:
        return (200, "ready", {}) if path == "/healthz" else App()(method, path, headers, body)

    with server(app) as port:
        front_proxy = RecordingProxy("https://x", "x", "127.0.0.1", port, port, None)
        behind = replace(host(project, 1, app=dict(OWN), **UNPUBLISHED), front_proxy=front_proxy)
        assert "counted" not in hostchecks.probe(behind), "metrics are internal"
        assert hostchecks.health(behind) == "ready, by /healthz"
    assert set(front_proxy.requested) == {"/api/probes", "/api/probes/p1", "/api/targets/t/latest", "/healthz"}


def test_stopped_proxy_is_reported(project: Project) -> None:
    behind = host(project, 1, app=dict(OWN))
    for check_ in (hostchecks.health, hostchecks.proxy_check):
        with pytest.raises(CheckError, match="proxy is not running"):
            check_(behind)


def test_rabbitmq_reports_the_logged_in_user(project: Project) -> None:
    setup(project, "dev")

    def whoami(_method: str, _path: str, headers: dict[str, str], _body: str) -> Route:
        return (200, {"name": "monitoring"}, {}) if headers.get("Authorization") else (401, {}, {})

    with server(whoami) as port:
        assert hostchecks.rabbitmq(host(project, port, "rabbitmq")) == "logged in as monitoring"
    with (
        server(lambda *_request: (401, {"error": "not_authorized"}, {})) as port,
        pytest.raises(CheckError, match="401"),
    ):
        hostchecks.rabbitmq(host(project, port, "rabbitmq"))


def test_alertmanager_fails_unless_ready(project: Project) -> None:
    with server(lambda *_request: (200, "ok", {})) as port:
        assert str(port) in hostchecks.alertmanager(host(project, port, "alertmanager"))
    with server(lambda *_request: (503, "starting", {})) as port, pytest.raises(CheckError, match="503"):
        hostchecks.alertmanager(host(project, port, "alertmanager"))


SCRAPED = [Finding.of("targets", "app app:3000", "")]


def test_targets_are_awaited(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    results = [[*SCRAPED, Finding.of("targets", "redis", "it is running, but no job scrapes it")], SCRAPED]
    monkeypatch.setattr(targets, "check", lambda _stack: iter(results.pop(0)))
    assert hostchecks.targets_check(host(project, 1)) == "1 targets and services"


def test_target_that_stays_down_is_reported(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    down = [*SCRAPED, Finding.of("targets", "worker worker:3000", "connection refused")]
    monkeypatch.setattr(targets, "check", lambda _stack: iter(down))
    with pytest.raises(CheckError, match="worker worker:3000: connection refused"):
        hostchecks.targets_check(host(project, 1, seconds=0.1))


def test_unreachable_service_is_reported(project: Project) -> None:
    with server(App()) as port:
        stack = host(project, port, seconds=0.2)
    with pytest.raises(CheckError, match="refused or closed"):
        stack.get("app", "/api/health")
    with pytest.raises(CheckError, match="redis is not running"):
        stack.get("redis", "/")

    def slow(*_request: object) -> Route:
        time.sleep(1.5)
        return 200, "", {}

    with server(slow) as port, pytest.raises(CheckError, match="does not answer"):
        host(project, port, seconds=0.1).get("app", "/")


def test_proxy_of_the_environment_is_ignored(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with server(App()) as port:
        assert hostchecks.health(host(project, port))


def test_stop_ends_waiting(project: Project) -> None:
    stack = host(project, 1)
    stack.stop.set()
    with pytest.raises(CheckError, match="cancelled"):
        hostchecks.until(stack, "nothing", lambda: None)


def test_plan_is_read_from_both_configurations(project: Project, docker: FakeDocker) -> None:
    docker.on("config", stdout={"name": "netmon", "services": {"db": {}}})
    docker.on("--profile", "*", "config", stdout={"name": "netmon", "services": {"db": {}, "jaeger": {}}})
    name, found = Plan.read(project, docker.cli)
    assert (name, set(found.enabled), set(found.services)) == ("netmon", {"db"}, {"db", "jaeger"})
    assert found.expected == ["db"]
