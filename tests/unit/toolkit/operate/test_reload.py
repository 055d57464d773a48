"""Reload: validation, order, and detection of partial reloads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.unit.toolkit.conftest import FakeDocker, configuration
from tests.unit.toolkit.programs import Programs, prometheus
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Result
from toolkit.observe.stack import Stack
from toolkit.operate import reload as module
from toolkit.operate import verify_reload
from toolkit.operate.reload import reload
from toolkit.operate.verify_reload import file_hash, metric
from toolkit.validate import programs as validators
from toolkit.validate.findings import Finding

RULE = {"alert": "RedisDown", "expr": "redis_up==0", "for": "3s"}
ALERTMANAGER = "route:\n  receiver: app\nreceivers:\n  - name: app\n"
PROGRAMS = ("worker", "prometheus", "alertmanager", "blackbox-exporter", "otel-collector", "grafana", "loki")


class Live:
    """Programs with the live configuration of the files."""

    def __init__(self, docker: FakeDocker, project: Project) -> None:
        self.programs = Programs(docker)
        self.success = 1
        self.rule: dict[str, Any] = {"name": "RedisDown", "duration": 3, "query": "redis_up == 0"}
        self.pools = ["redis-exporter"]
        self.original = ALERTMANAGER
        self.hash = file_hash(ALERTMANAGER)
        setup(project, "dev")
        root = project.root
        for file, document in {
            "monitoring/prometheus/rules/redis.yml": {"groups": [{"name": "redis", "rules": [RULE]}]},
            "monitoring/prometheus/scrape/redis.yml": {"scrape_configs": [{"job_name": "redis-exporter"}]},
            "monitoring/prometheus/scrape/pulled/loki.yml": {"scrape_configs": [{"job_name": "loki"}]},
            "monitoring/jaeger/scrape.yml": {"scrape_configs": [{"job_name": "jaeger"}]},
        }.items():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_text(yaml.safe_dump(document))
        (root / "empty").mkdir()
        (root / "monitoring/alertmanager").mkdir()
        (root / verify_reload.ALERTMANAGER).write_text(ALERTMANAGER)
        on = self.programs.on
        for program in PROGRAMS:
            on(f"{program}/-/reload", {})
        on("prometheus/api/v1/status/runtimeinfo", lambda _: prometheus({"reloadConfigSuccess": self.success == 1}))
        on("prometheus/api/v1/scrape_pools", lambda _: prometheus({"scrapePools": self.pools}))
        on("prometheus/api/v1/rules", lambda _: prometheus({"groups": [{"name": "redis", "rules": [self.rule]}]}))
        on("alertmanager/api/v2/status", lambda _: {"config": {"original": self.original}})
        on("alertmanager/metrics", lambda _: f"alertmanager_config_last_reload_successful {self.success}\n"
                                             f"alertmanager_config_hash {self.hash!r}\n")  # fmt: skip
        on("otel-collector/", {})
        for part in ("datasources", "dashboards"):
            on(f"grafana/api/admin/provisioning/{part}/reload", {})
        mounts = {"/etc/prometheus": "monitoring/prometheus", "/etc/prometheus/scrape/pulled": "empty"}
        volumes = [{"type": "bind", "source": str(root / at), "target": to} for to, at in mounts.items()]
        services: dict[str, Any] = {name: {} for name in PROGRAMS} | {"prometheus": {"volumes": volumes}}
        self.stack = Stack(project, docker.cli, services, frozenset(PROGRAMS))


@pytest.fixture
def live(docker: FakeDocker, project: Project, monkeypatch: pytest.MonkeyPatch) -> Live:
    live = Live(docker, project)
    docker.on("compose", "config", stdout=configuration(prometheus={}))
    docker.on("ps", stdout="")
    docker.on("compose", "kill", "--signal", "HUP", "otel-collector")
    docker.on("exec", "blackbox-exporter", "wget", "http://127.0.0.1:9115/-/reload")
    docker.answer(
        "exec",
        "blackbox-exporter",
        "wget",
        "http://127.0.0.1:9115/metrics",
        by=lambda _: Result(0, f"blackbox_exporter_config_last_reload_successful {live.success}\n", ""),
    )
    monkeypatch.setattr(Stack, "read", staticmethod(lambda *_arguments: live.stack))
    monkeypatch.setattr(validators, "validate", lambda *_arguments: iter(()))
    monkeypatch.setattr(verify_reload, "TIMEOUT_SECONDS", 0.01)
    return live


def test_reload_reloads_and_compares_every_program(
    project: Project, docker: FakeDocker, live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    reload(project, docker.cli)
    output = capsys.readouterr().out
    assert "prometheus: 1 jobs and 1 rules, as in the files" in output
    assert "alertmanager: 1 receivers" in output
    assert "loki: reads its configuration only at start" in output
    assert docker.ran("kill", "HUP", "otel-collector")
    assert sum(each["url"].endswith("/-/reload") for each in live.programs.requests) == 2
    assert docker.ran("exec", "blackbox-exporter", "--post-data=", "http://127.0.0.1:9115/-/reload")


def test_invalid_file_is_not_loaded(
    project: Project, docker: FakeDocker, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_checkout: object, program: validators.Program) -> Iterator[Finding]:
        if program.name == "amtool-config":
            yield Finding("monitoring/alertmanager/alertmanager.yml", 7, "amtool-config: unexpected token")

    monkeypatch.setattr(validators, "validate", refuse)
    with pytest.raises(ToolkitError, match="was not loaded") as raised:
        reload(project, docker.cli)
    assert "monitoring/alertmanager/alertmanager.yml:7: amtool-config: unexpected token" in raised.value.why
    assert live.programs.requests == []


def test_unvalidated_file_is_not_loaded(
    project: Project, docker: FakeDocker, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    skipped = validators.Skipped("amtool-config", "No such image: prom/alertmanager:v1", validators.IMAGES)
    monkeypatch.setattr(validators, "validate", lambda *_arguments: iter([skipped]))
    with pytest.raises(ToolkitError, match="was not loaded") as raised:
        reload(project, docker.cli)
    assert "amtool-config could not be run: No such image" in raised.value.why
    assert live.programs.requests == []


def test_rejected_reload_is_reported_with_its_message(project: Project, docker: FakeDocker, live: Live) -> None:
    live.programs.on("alertmanager/-/reload", 500)
    with pytest.raises(ToolkitError, match="alertmanager rejects the new configuration: status 500") as raised:
        reload(project, docker.cli)
    assert "--service=alertmanager" in raised.value.fix


def test_reload_that_the_blackbox_exporter_rejects(project: Project, docker: FakeDocker, live: Live) -> None:
    message = "wget: server returned error: HTTP/1.1 500 Internal Server Error"
    docker.on("exec", "blackbox-exporter", "wget", "http://127.0.0.1:9115/-/reload", code=1, stderr=message)
    with pytest.raises(ToolkitError, match="blackbox-exporter rejects the new configuration: wget: server") as raised:
        reload(project, docker.cli)
    assert "--service=blackbox-exporter" in raised.value.fix


@pytest.mark.parametrize("program", ["prometheus", "alertmanager", "blackbox_exporter"])
def test_partial_reload_is_an_error(live: Live, program: str) -> None:
    live.success = 0
    with pytest.raises(ToolkitError, match="has not loaded the whole new configuration"):
        getattr(verify_reload, program)(live.stack)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "RedisGone"}, "missing rule RedisDown"),
        ({"name": "RedisGone"}, "stale rule RedisGone"),
        ({"duration": 5}, "missing rule RedisDown"),
        ({"query": "redis_up == 1"}, "redis_up == 1"),
    ],
)
def test_live_rules_that_differ_from_the_files_are_an_error(live: Live, changes: dict[str, Any], message: str) -> None:
    live.rule |= changes
    with pytest.raises(ToolkitError, match="prometheus does not match the files") as raised:
        verify_reload.prometheus(live.stack)
    assert message in raised.value.why


def test_live_jobs_that_differ_from_the_files_are_an_error(live: Live) -> None:
    live.pools = ["redis-exporter", "loki"]
    with pytest.raises(ToolkitError, match="stale job loki"):
        verify_reload.prometheus(live.stack)


def test_alertmanager_with_another_configuration_is_an_error(live: Live) -> None:
    live.hash += 1
    with pytest.raises(ToolkitError, match="its hash is not that of the file"):
        verify_reload.alertmanager(live.stack)
    live.original = "receivers: [{name: old}]"
    with pytest.raises(ToolkitError, match="missing receiver app"):
        verify_reload.alertmanager(live.stack)


def test_collector_that_stays_unhealthy_is_an_error(live: Live) -> None:
    live.programs.on("otel-collector/", 503)
    with pytest.raises(ToolkitError, match="otel-collector is not healthy after its reload"):
        verify_reload.otel_collector(live.stack)


def test_reload_without_monitoring_fails(project: Project, docker: FakeDocker, live: Live) -> None:
    live.stack = Stack(project, docker.cli, {"app": {}}, frozenset({"app"}))
    with pytest.raises(ToolkitError, match="nothing to reload"):
        reload(project, docker.cli)


def test_file_hash_is_alertmanagers_hash() -> None:
    assert file_hash("") == int.from_bytes(bytes.fromhex("d41d8cd98f00"), "little")
    assert metric("a_total 1\nalertmanager_config_hash 1.5e+03\n", "alertmanager_config_hash") == 1500


def test_every_reloaded_program_has_a_validator() -> None:
    validated = {program.service for program in validators.PROGRAMS} | {"grafana"}
    assert module.STEPS.keys() <= validated
