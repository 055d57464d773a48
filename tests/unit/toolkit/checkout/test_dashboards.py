"""Dashboards as data: panels, queries, and variables with their defaults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from toolkit.checkout.dashboards import (
    EMPTY_BY_DESIGN,
    FOLDER,
    EmptyPanel,
    PanelQuery,
    empty_panels,
    queries,
    variables_in,
    with_defaults,
)
from toolkit.core.promql import metrics_in

PROMETHEUS = {"type": "prometheus", "uid": "prometheus"}


def variable(kind: str, **fields: Any) -> dict[str, Any]:
    return {"templating": {"list": [{"name": "service", "type": kind, **fields}]}}


@pytest.mark.parametrize(
    ("model", "value"),
    [
        (variable("query", includeAll=True, allValue=".*", current={"value": ["$__all"]}), ".*"),
        (variable("query", includeAll=True, current={"value": "$__all"}), ".+"),
        (variable("query"), ".+"),
        (variable("query", current={"value": "app"}), "app"),
        (variable("query", current={"value": ["app"]}), "app"),
        (variable("custom", current={"value": ["app", "worker"]}), "(app|worker)"),
        (variable("textbox", query=""), ""),
        (variable("textbox", query="timeout"), "timeout"),
    ],
)
def test_a_variable_is_replaced_by_its_default(model: dict[str, Any], value: str) -> None:
    for form in ("$service", "${service}", "${service:regex}"):
        assert with_defaults(f'up{{service=~"{form}"}}', model) == f'up{{service=~"{value}"}}'


def test_regex_groups_and_unknown_variables_are_not_replaced() -> None:
    text = 'label_replace(rate(x[$__rate_interval]), "a", "${1}xx", "b", "$2 $unknown")'
    assert with_defaults(text, {}) == text.replace("$__rate_interval", "1m")
    assert variables_in(text) == {"unknown"}


def test_queries_of_panels_rows_and_annotations(tmp_path: Path) -> None:
    def panel(title: str, *exprs: str) -> dict[str, Any]:
        targets = [{"refId": "AB"[n], "datasource": PROMETHEUS, "expr": expr} for n, expr in enumerate(exprs)]
        return {"title": title, "type": "timeseries", "targets": targets}

    model = {
        "uid": "one",
        "panels": [panel("first", "up", "down"), {"type": "row", "title": "row", "panels": [panel("inner", "x")]}],
        "annotations": {
            "list": [
                {"name": "built in", "datasource": {"type": "grafana", "uid": "-- Grafana --"}},
                {"name": "event", "datasource": PROMETHEUS, "target": {"refId": "Anno", "expr": "y"}},
            ]
        },
    }
    (tmp_path / FOLDER / "Folder").mkdir(parents=True)
    (tmp_path / FOLDER / "Folder" / "one.json").write_text(json.dumps(model))
    assert [(query.panel, query.ref, query.expr) for query in queries(tmp_path)] == [
        ("first", "A", "up"),
        ("first", "B", "down"),
        ("inner", "A", "x"),
        ("Annotation: event", "Anno", "y"),
    ]


def test_a_tempo_query_without_text_is_left_out(tmp_path: Path) -> None:
    tempo = {"type": "tempo", "uid": "tempo"}
    targets = [
        {"refId": "A", "datasource": tempo, "queryType": "traceql", "query": "{ status = error }"},
        {"refId": "B", "datasource": tempo, "queryType": "serviceMap"},
    ]
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / FOLDER / "one.json").write_text(
        json.dumps({"uid": "one", "panels": [{"title": "first", "type": "table", "targets": targets}]})
    )
    assert queries(tmp_path) == [PanelQuery("one", "first", "A", "tempo", "{ status = error }")]


def test_an_empty_panel_covers_its_dashboard_while_its_service_is_unavailable(tmp_path: Path) -> None:
    file = tmp_path / EMPTY_BY_DESIGN
    file.parent.mkdir(parents=True)
    file.write_text(
        "- {panel: Errors, reason: None yet.}\n"
        "- {panel: Lag, dashboard: netmon-kafka, needs: kafka-exporter, reason: It reports the lag.}\n"
    )
    errors, lag = empty_panels(tmp_path)
    assert errors == EmptyPanel("Errors", "None yet.")
    assert errors.covers(PanelQuery("any", "Errors", "A", "loki", "x"))
    query = PanelQuery("netmon-kafka", "Lag", "A", "prometheus", "x")
    assert lag.covers(query, absent={"kafka-exporter"})
    assert not lag.covers(query)
    assert not lag.covers(PanelQuery("netmon-app", "Lag", "A", "prometheus", "x"), absent={"kafka-exporter"})


@pytest.mark.parametrize(
    ("expr", "metrics"),
    [
        ('sum by (job) (rate(a_total{job="x"}[5m])) / on () group_left () vector(1)', {"a_total"}),
        ('a and {__name__="b"} unless {__name__=~"c.*"}', {"a", "b"}),
        ("max_over_time(rate(a[1m])[10m:1m]) > bool slo:b:ratio offset 1h", {"a", "slo:b:ratio"}),
        ("histogram_quantile(0.9, sum by (le) (rate(a_bucket[1m]))) or -b", {"a_bucket", "b"}),
        ("time() - vector(1)", set()),
    ],
)
def test_metrics_of_an_expression(expr: str, metrics: set[str]) -> None:
    assert metrics_in(expr) == metrics


@pytest.mark.parametrize("expr", ["up ===", "sum by (a (b)", "rate(a)", "", "nosuchfunction(a)"])
def test_an_invalid_expression_is_an_error(expr: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the parser's own
        metrics_in(expr)
