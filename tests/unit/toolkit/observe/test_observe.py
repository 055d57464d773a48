"""Checks of the live observability: their findings, failures and skips."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.toolkit.conftest import FakeDocker
from tests.unit.toolkit.programs import Parameters, Programs, prometheus, stack
from toolkit.checkout.project import Project
from toolkit.checkout.reachability import Connection, Matrix
from toolkit.checkout.setup import setup
from toolkit.core.report import Finding, Outcome
from toolkit.observe import correlation, grafana, metrics, panels, targets
from toolkit.observe.stack import PORTS

TOKEN = "0123456789-the-token"
EXPECTED = {"services": {"db": "through its exporter"}, "metrics": []}


@pytest.fixture
def programs(docker: FakeDocker) -> Programs:
    return Programs(docker)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with two rule files, one of them of a service that may be unavailable, and a dashboard."""
    write(tmp_path, "monitoring/prometheus/expected-absent.yml", EXPECTED)
    rule = {"alert": "RedisDown", "expr": "redis_up == 0"}
    write(tmp_path, "monitoring/prometheus/rules/redis.yml", {"groups": [{"name": "redis", "rules": [rule]}]})
    rule = {"record": "loki:lines", "expr": "sum(loki_lines_total)"}
    write(tmp_path, "monitoring/prometheus/rules/pulled/loki.yml", {"groups": [{"name": "loki", "rules": [rule]}]})
    write(tmp_path, "monitoring/grafana/empty-by-design.yml", [])
    dashboard(tmp_path, ("prometheus", "Keys", "redis_db_keys"))
    return tmp_path


def write(root: Path, file: str, document: object) -> None:
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(json.dumps(document) if file.endswith(".json") else yaml.safe_dump(document))


def dashboard(root: Path, *queries: tuple[str, str, str]) -> None:
    """A dashboard with one panel for each (store, title, query)."""
    found = [
        {
            "title": title,
            "targets": [{"refId": "A", "datasource": {"type": store, "uid": store}, "expr": query, "query": query}],
        }
        for store, title, query in queries
    ]
    write(root, "monitoring/grafana/dashboards/One/netmon-one.json", {"uid": "netmon-one", "panels": found})


def outcomes(results: list[Finding]) -> dict[str, str]:
    """The outcome of each subject."""
    return {each.subject: each.outcome.value for each in results}


class TestTargets:
    """Scrape targets."""

    @staticmethod
    def target(job: str, health: str = "up", **labels: str) -> dict[str, Any]:
        return {"labels": {"job": job, "instance": f"{job}:1", **labels}, "health": health, "lastError": "refused"}

    def scrape(self, programs: Programs, *found: dict[str, Any]) -> None:
        programs.on("prometheus/api/v1/targets", prometheus({"activeTargets": list(found)}))

    def test_scraped_services_and_exceptions_are_ok(self, programs: Programs, root: Path) -> None:
        self.scrape(programs, self.target("app"), self.target("prometheus"), self.target("probe", service="worker"))
        found = list(targets.check(stack(programs.docker, root, "prometheus", "app", "db", "worker")))
        assert {each.outcome for each in found} == {Outcome.OK}
        assert next(each for each in found if each.subject == "db").detail == "through its exporter"

    def test_targets_that_are_down_and_unscraped_services_fail(self, programs: Programs, root: Path) -> None:
        self.scrape(programs, self.target("prometheus"), self.target("app", "down"), self.target("x", "unknown"))
        found = outcomes(list(targets.check(stack(programs.docker, root, "prometheus", "app", "redis"))))
        assert found["app app:1"] == found["x x:1"] == found["redis"] == "failed"
        assert found["prometheus"] == "ok"

    def test_unavailable_services_are_skipped_by_name(self, programs: Programs, root: Path) -> None:
        self.scrape(programs, self.target("prometheus"))
        found = outcomes(list(targets.check(stack(programs.docker, root, "prometheus", absent=("loki",)))))
        assert found["loki"] == "skipped"

    def test_targets_without_prometheus_are_skipped(self, programs: Programs, root: Path) -> None:
        [found] = targets.check(stack(programs.docker, root, "app"))
        assert (found.outcome, found.detail) == (Outcome.SKIPPED, "prometheus is disabled")

    def test_error_response_fails(self, programs: Programs, root: Path) -> None:
        programs.on("prometheus/api/v1/targets", 503)
        [found] = targets.check(stack(programs.docker, root, "prometheus"))
        assert found.outcome is Outcome.FAILED


class TestMetrics:
    """Metrics used by rules and panels."""

    @pytest.fixture(autouse=True)
    def _live(self, programs: Programs) -> None:
        self.live = ["redis_up", "redis_db_keys", "loki_lines_total"]
        self.recorded: list[str] = []
        self.started = "2026-01-01T00:00:00.123456789Z"
        programs.on("prometheus/api/v1/status/runtimeinfo", lambda _parameters: prometheus({"startTime": self.started}))
        programs.on("prometheus/api/v1/query", self.query)

    def query(self, parameters: dict[str, str]) -> Any:
        names = self.recorded if parameters["query"] == metrics.RECENTLY_RECORDED else self.live
        return prometheus({"result": [{"metric": {"__name__": name}} for name in names]})

    def check(self, programs: Programs, root: Path, **options: Any) -> list[Finding]:
        return list(metrics.check(stack(programs.docker, root, "prometheus", **options)))

    def test_existing_metrics_are_ok(self, programs: Programs, root: Path) -> None:
        assert outcomes(self.check(programs, root)) == dict.fromkeys(self.live, "ok")

    def test_missing_metric_fails_with_its_users(self, programs: Programs, root: Path) -> None:
        self.live.remove("redis_up")
        failed = next(each for each in self.check(programs, root) if each.outcome is Outcome.FAILED)
        assert failed.subject == "redis_up"
        assert "redis.yml:RedisDown" in failed.detail

    def test_rules_of_unavailable_services_are_ignored(self, programs: Programs, root: Path) -> None:
        self.live.remove("loki_lines_total")
        assert "loki_lines_total" not in outcomes(self.check(programs, root, absent=("loki",)))

    def test_panel_metrics_of_unavailable_services_are_skipped(self, programs: Programs, root: Path) -> None:
        dashboard(root, ("prometheus", "Lines", "loki_lines_total"))
        write(root, "images/loki/contract.yml", {"services": ["loki"], "metrics": "loki_.+"})
        self.live.remove("loki_lines_total")
        assert outcomes(self.check(programs, root, absent=("loki",)))["loki_lines_total"] == "skipped"
        assert outcomes(self.check(programs, root))["loki_lines_total"] == "failed", (
            "the metric is required while Loki is running"
        )

    def test_optional_metric_may_be_missing(self, programs: Programs, root: Path) -> None:
        entry = {"metric": "redis_db_keys", "reason": "no key yet"}
        write(root, "monitoring/prometheus/expected-absent.yml", EXPECTED | {"metrics": [entry]})
        self.live.remove("redis_db_keys")
        assert outcomes(self.check(programs, root))["redis_db_keys"] == "ok"

    def test_recorded_series_may_be_missing_after_a_start_of_prometheus(self, programs: Programs, root: Path) -> None:
        dashboard(root, ("prometheus", "Lines", "loki:lines"))
        assert outcomes(self.check(programs, root))["loki:lines"] == "failed"
        self.started = datetime.now(UTC).isoformat()
        found = self.check(programs, root)
        assert outcomes(found)["loki:lines"] == "ok"
        programs.on("prometheus/api/v1/query_range", prometheus({"result": []}))
        [panel] = panels.check(stack(programs.docker, root, "prometheus"), found)
        assert (panel.outcome, panel.detail.partition(":")[0]) == (Outcome.OK, "loki")

    def test_recorded_series_that_ended_moments_ago_exist(self, programs: Programs, root: Path) -> None:
        dashboard(root, ("prometheus", "Lines", "loki:lines"))
        self.recorded.append("loki:lines")
        assert outcomes(self.check(programs, root))["loki:lines"] == "ok"

    def test_optional_metric_of_a_running_service_may_be_missing(self, programs: Programs, root: Path) -> None:
        """The entry of the service does not hide the entry of the metric."""
        dashboard(root, ("prometheus", "Lines", "loki_lines_total"))
        write(root, "images/loki/contract.yml", {"services": ["loki"], "metrics": "loki_.+"})
        entry = {"metric": "loki_lines_total", "reason": "no line yet"}
        write(root, "monitoring/prometheus/expected-absent.yml", EXPECTED | {"metrics": [entry]})
        self.live.remove("loki_lines_total")
        assert outcomes(self.check(programs, root))["loki_lines_total"] == "ok"
        assert outcomes(self.check(programs, root, absent=("loki",)))["loki_lines_total"] == "skipped"

    def test_expression_with_a_syntax_error_fails(self, programs: Programs, root: Path) -> None:
        dashboard(root, ("prometheus", "Keys", "sum(redis_db_keys"))
        assert outcomes(self.check(programs, root))["netmon-one: Keys"] == "failed"


SERIES = {"metric": {}, "values": [[1, "5"]]}


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panels, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(panels, "RETRY_SECONDS", 0.05)


class TestPanels:
    """Data of panels."""

    def check(self, programs: Programs, root: Path, *running: str, absent: tuple[str, ...] = ()) -> list[Finding]:
        return list(panels.check(stack(programs.docker, root, *running, absent=absent)))

    @pytest.mark.parametrize(
        ("result", "outcome"),
        [([SERIES], "ok"), ([], "failed"), ([{"metric": {}, "values": [[1, "NaN"]]}], "failed")],
    )
    def test_query_without_data_fails(self, programs: Programs, root: Path, result: list[object], outcome: str) -> None:
        programs.on("prometheus/api/v1/query_range", prometheus({"result": result}))
        assert outcomes(self.check(programs, root, "prometheus")) == {"netmon-one: Keys (A)": outcome}

    def test_panel_may_lack_data_for_a_moment(self, programs: Programs, root: Path) -> None:
        answers = iter([[], [SERIES]])
        programs.on("prometheus/api/v1/query_range", lambda _: prometheus({"result": next(answers)}))
        assert outcomes(self.check(programs, root, "prometheus")) == {"netmon-one: Keys (A)": "ok"}

    def test_rejected_query_fails_with_its_status(self, programs: Programs, root: Path) -> None:
        programs.on("prometheus/api/v1/query_range", 400)
        [found] = self.check(programs, root, "prometheus")
        assert found.outcome is Outcome.FAILED
        assert "status 400" in found.detail
        assert "redis_db_keys" in found.detail

    def test_every_store_is_queried_with_its_own_api(self, programs: Programs, root: Path) -> None:
        dashboard(root, ("loki", "Lines", '{service_name="app"}'), ("tempo", "Slow", "{ duration > 1s }"))
        received: list[Parameters] = []

        def lines(parameters: Parameters) -> dict[str, Any]:
            received.append(parameters)
            return prometheus({"result": [{"stream": {}, "values": [["1", "line"]]}]})

        programs.on("loki/loki/api/v1/query_range", lines)
        programs.on("tempo/api/search", {"traces": [{"traceID": "1"}]})
        found = outcomes(self.check(programs, root, "loki", "tempo"))
        assert found == {"netmon-one: Lines (A)": "ok", "netmon-one: Slow (A)": "ok"}
        assert received[0]["query"] == '{service_name="app"}'
        programs.on("tempo/api/search", {"traces": []})
        assert outcomes(self.check(programs, root, "loki", "tempo"))["netmon-one: Slow (A)"] == "failed"

    def test_panels_of_an_unavailable_store_are_skipped(self, programs: Programs, root: Path) -> None:
        dashboard(root, ("loki", "Lines", "{}"), ("loki", "Errors", "{}"))
        found = self.check(programs, root, "prometheus", absent=("loki",))
        assert [each.outcome for each in found] == [Outcome.SKIPPED] * 2
        assert "loki is not in the local images" in found[0].detail

    def test_panel_that_is_empty_by_design_is_ok(self, programs: Programs, root: Path) -> None:
        programs.on("prometheus/api/v1/query_range", prometheus({"result": []}))
        write(root, "monitoring/grafana/empty-by-design.yml", [{"panel": "Keys", "reason": "nothing happened"}])
        [found] = self.check(programs, root, "prometheus")
        assert (found.outcome, found.detail) == (Outcome.OK, "nothing happened")
        entry = {"panel": "Keys", "reason": "Loki's", "needs": "loki", "dashboard": "netmon-one"}
        write(root, "monitoring/grafana/empty-by-design.yml", [entry])
        assert outcomes(self.check(programs, root, "prometheus", absent=("loki",)))["netmon-one: Keys (A)"] == "skipped"
        assert outcomes(self.check(programs, root, "prometheus"))["netmon-one: Keys (A)"] == "failed"


class TestOneRequest:
    """One request from its exemplar to its trace to its log lines."""

    LOCAL = ("app", "worker", "otel-collector", "prometheus", "jaeger", "victorialogs")
    PULLED = ("app", "worker", "otel-collector", "prometheus", "tempo", "loki")

    @pytest.fixture(autouse=True)
    def _stored_signals(self, programs: Programs, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(correlation, "PAUSE", 0.001)
        monkeypatch.setattr(correlation, "TIMEOUT_SECONDS", 0.05)
        monkeypatch.setattr(secrets, "token_hex", lambda _size: "abc")
        (root / "secrets").mkdir()
        (root / "secrets/api_token.txt").write_text(TOKEN)
        self.exemplar = {"labels": {"trace_id": "abc"}, "value": "0.012", "timestamp": 1.0}
        programs.on("app/api/probes", {"id": "1"})
        programs.on("prometheus/api/v1/query_exemplars", lambda _parameters: prometheus(
            [{"seriesLabels": {"method": "POST", "route": "/api/probes"}, "exemplars": [self.exemplar]}]))  # fmt: skip
        processes = {"p1": {"serviceName": "netmon-app"}, "p2": {"serviceName": "netmon-worker"}}
        programs.on("jaeger/api/traces/abc", {"data": [{"processes": processes}]})
        attributes = [
            [{"key": "service.name", "value": {"stringValue": f"netmon-{name}"}}] for name in ("app", "worker")
        ]
        programs.on("tempo/api/traces/abc", {"batches": [{"resource": {"attributes": each}} for each in attributes]})
        lines = [{"service.name": name, "_msg": "x"} for name in ("app", "worker")]
        programs.on("victorialogs/select/logsql/query", "\n".join(map(json.dumps, lines)))
        streams = [{"stream": {"service_name": name}, "values": [["1", "x"]]} for name in ("app", "worker")]
        programs.on("loki/loki/api/v1/query_range", prometheus({"result": streams}))

    @pytest.mark.parametrize("running", [LOCAL, PULLED])
    def test_request_is_followed_through_all_signals(
        self, programs: Programs, root: Path, running: tuple[str, ...]
    ) -> None:
        found = list(correlation.check(stack(programs.docker, root, *running)))
        assert [(each.subject, each.outcome.value, each.detail) for each in found] == [
            ("metrics", "ok", "exemplar of POST /api/probes: 0.012 s"),
            ("traces", "ok", "spans of netmon-app, netmon-worker"),
            ("logs", "ok", "2 lines of app, worker"),
        ]
        assert programs.requests[0]["headers"]["traceparent"] == "00-abc-abc-01"
        assert programs.requests[0]["headers"]["Authorization"] == f"Bearer {TOKEN}"

    @pytest.mark.parametrize(
        ("address", "answer", "signal"),
        [
            ("jaeger/api/traces/abc", {"data": [{"processes": {"p1": {"serviceName": "netmon-app"}}}]}, "traces"),
            ("jaeger/api/traces/abc", 404, "traces"),
            ("victorialogs/select/logsql/query", '{"service.name": "app"}', "logs"),
            ("victorialogs/select/logsql/query", "", "logs"),
            ("prometheus/api/v1/query_exemplars", prometheus([]), "metrics"),
        ],
    )
    def test_missing_signal_fails(self, programs: Programs, root: Path, address: str, answer: Any, signal: str) -> None:
        programs.on(address, answer)
        found = outcomes(list(correlation.check(stack(programs.docker, root, *self.LOCAL))))
        assert found.pop(signal) == "failed"
        assert set(found.values()) == {"ok"}

    def test_request_of_a_newer_exemplar_is_followed_instead(
        self, programs: Programs, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(secrets, "token_hex", lambda _size: "own")
        assert set(outcomes(list(correlation.check(stack(programs.docker, root, *self.LOCAL)))).values()) == {"ok"}

    def test_newer_request_must_have_all_signals(self, programs: Programs, root: Path) -> None:
        self.exemplar["labels"] = {"trace_id": "other"}
        assert outcomes(list(correlation.check(stack(programs.docker, root, *self.LOCAL))))["traces"] == "failed"

    def test_request_without_all_signals_gives_way_to_a_newer_one(
        self, programs: Programs, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(correlation, "FOLLOWED_SECONDS", 0.0)
        found = iter(["incomplete", "incomplete"])

        def newest(_parameters: object) -> object:
            exemplar = {**self.exemplar, "labels": {"trace_id": next(found, "abc")}}
            return prometheus([{"seriesLabels": {}, "exemplars": [exemplar]}])

        programs.on("prometheus/api/v1/query_exemplars", newest)
        monkeypatch.setattr(secrets, "token_hex", lambda _size: "own")
        assert set(outcomes(list(correlation.check(stack(programs.docker, root, *self.LOCAL)))).values()) == {"ok"}

    def test_rejected_probe_fails(self, programs: Programs, root: Path) -> None:
        programs.on("app/api/probes", 503)
        [found] = correlation.check(stack(programs.docker, root, *self.LOCAL))
        assert found.outcome is Outcome.FAILED
        assert "rejects a probe" in found.detail

    def test_signals_without_a_store_are_skipped(self, programs: Programs, root: Path) -> None:
        found = outcomes(list(correlation.check(stack(programs.docker, root, "app", "worker", "otel-collector"))))
        assert found == {"logs": "skipped", "metrics": "skipped", "traces": "skipped"}


class TestGrafana:
    """Grafana's data sources and dashboards."""

    @pytest.fixture(autouse=True)
    def _provisioned(self, root: Path, project: Project) -> None:
        setup(project, "dev")
        sources = [{"uid": "prometheus", "type": "prometheus"}, {"uid": "alertmanager", "type": "alertmanager"}]
        write(root, "monitoring/grafana/provisioning/datasources/netmon.yml", {"datasources": sources})
        write(
            root, "monitoring/grafana/groups/jaeger/jaeger.yml", {"datasources": [{"uid": "jaeger", "type": "jaeger"}]}
        )

    def test_healthy_data_sources_and_dashboards_are_ok(self, programs: Programs, root: Path, project: Project) -> None:
        programs.on("grafana/api/datasources/uid/prometheus/health", {"status": "OK"})
        programs.on("grafana/api/datasources/proxy/uid/alertmanager/api/v2/status", {})
        programs.on("grafana/api/dashboards/uid/netmon-one", {})
        found = list(grafana.check(project, stack(programs.docker, root, "grafana")))
        assert outcomes(found) == dict.fromkeys(
            ["data source prometheus", "data source alertmanager", "dashboard netmon-one"], "ok"
        )
        assert programs.requests[0]["headers"]["Authorization"].startswith("Basic ")

    def test_missing_data_sources_and_dashboards_fail(self, programs: Programs, root: Path, project: Project) -> None:
        found = outcomes(list(grafana.check(project, stack(programs.docker, root, "grafana", "jaeger"))))
        assert set(found.values()) == {"failed"}
        assert "data source jaeger" in found, "its group is enabled"

    def test_unavailable_grafana_is_skipped(self, programs: Programs, root: Path, project: Project) -> None:
        [found] = grafana.check(project, stack(programs.docker, root, "app", absent=("grafana",)))
        assert found.outcome is Outcome.SKIPPED


def test_ports_are_those_that_the_worker_may_reach() -> None:
    """Requests of these checks come from its container."""
    allowed = Matrix.load(Path(__file__).parents[4]).allowed
    assert {Connection("worker", service, f"{port}/tcp") for service, port in PORTS.items()} <= allowed
