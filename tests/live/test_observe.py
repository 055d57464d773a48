"""The checks of the running stack's observability: they pass on a healthy stack and fail on each fault."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.live.stack import Stack, until

RULES = "monitoring/prometheus/rules/redis.yml"
SCRAPE = "monitoring/prometheus/scrape/pulled"
TEMPLATE = "monitoring/alertmanager/templates/netmon.tmpl"
ALERTMANAGER = "monitoring/alertmanager/alertmanager.yml"


@pytest.fixture(scope="module")
def with_traffic(stack: Stack) -> Stack:
    """The shared stack after the sample traffic of the demo."""
    report = stack.invoke("demo", "--seconds=10", "--rate=20", timeout=120).stdout
    assert re.search(r"\b\d+ requests in \d+ s: .*200: \d+", report), report
    assert "no answer" not in report
    return stack


@contextmanager
def edited(stack: Stack, file: str, old: str, new: str) -> Iterator[Path]:
    """Edit a file of the copy while the block runs."""
    path = stack.root / file
    before = path.read_text(encoding="utf-8")
    assert old in before, file
    path.write_text(before.replace(old, new, 1), encoding="utf-8")
    try:
        yield path
    finally:
        path.write_text(before, encoding="utf-8")


def test_observe_check_passes_on_a_healthy_stack(with_traffic: Stack) -> None:
    done = with_traffic.invoke("observe.check", check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"one request +ok +3 of 3", done.stdout), done.stdout
    unavailable = set(re.findall(r"([\w-]+) is not in the local images", done.stdout))
    assert unavailable == with_traffic.unavailable(), done.stdout


def test_observe_check_fails_on_a_stopped_exporter_and_on_an_unknown_metric(with_traffic: Stack) -> None:
    with_traffic.control("stop", "redis-exporter")
    try:
        query = with_traffic.url('/api/v1/query?query=up{job="redis-exporter"}==0', "PROMETHEUS_PORT")
        until(
            lambda: requests.get(query, timeout=5).json()["data"]["result"],
            20,
            "Prometheus to report the target as down",
        )
        with edited(with_traffic, RULES, "redis_up == 0", "redis_is_up == 0"):
            done = with_traffic.invoke("observe.check", check=False, timeout=120)
        assert done.returncode == 1
        assert re.search(r"targets +failed +redis-exporter", done.stdout), done.stdout
        assert re.search(r"metrics +failed +redis_is_up +.*redis\.yml:RedisDown", done.stdout), done.stdout
    finally:
        with_traffic.control("start", "redis-exporter")
        with_traffic.wait_until_recovered()


def test_smoke_and_status_report_a_hanging_collector(with_traffic: Stack) -> None:
    with_traffic.control("kill", "otel-collector", signal="STOP")
    try:
        done = with_traffic.invoke("smoke", "--timeout=12", check=False)
        assert done.returncode == 1
        assert re.search(r"\bsignals +inside +failed", done.stdout), done.stdout
        until(
            lambda: "unhealthy" in with_traffic.invoke("status", check=False).stdout or None,
            90,
            "the collector to be unhealthy",
        )
    finally:
        with_traffic.control("kill", "otel-collector", signal="CONT")
    with_traffic.wait_until_recovered()


def test_jobs_of_unavailable_services_stay_hidden_when_an_editor_replaces_their_files(stack: Stack) -> None:
    """As `sed -i` does: a mount on the file itself would be lost."""
    names = [name for name in stack.unavailable() if (stack.root / SCRAPE / f"{name}.yml").is_file()]
    if not names:
        pytest.skip("this image set has every service")
    for name in names:
        for folder in (SCRAPE, SCRAPE.replace("scrape", "rules")):
            path = stack.root / folder / f"{name}.yml"
            path.with_suffix(".new").write_text(path.read_text())
            path.with_suffix(".new").replace(path)
    assert "as in the files" in stack.invoke("reload", timeout=120).stdout
    jobs = requests.get(stack.url("/api/v1/scrape_pools", "PROMETHEUS_PORT"), timeout=5).json()["data"]["scrapePools"]
    assert not set(names) & set(jobs)
    assert "prometheus" in jobs


def test_reload_applies_a_change_without_a_restart(stack: Stack) -> None:
    before = stack.container("prometheus")["State"]["StartedAt"]
    with edited(stack, RULES, "- alert: RedisDown", "- alert: RedisGone"):
        output = stack.invoke("reload", timeout=120).stdout
        assert "as in the files" in output
        rules = requests.get(stack.url("/api/v1/rules", "PROMETHEUS_PORT"), timeout=5).text
        assert '"RedisGone"' in rules
        assert '"RedisDown"' not in rules
    assert requests.post(stack.url("/-/reload", "PROMETHEUS_PORT"), timeout=5).status_code == 200
    assert '"RedisDown"' in requests.get(stack.url("/api/v1/rules", "PROMETHEUS_PORT"), timeout=5).text
    assert stack.container("prometheus")["State"]["StartedAt"] == before


@pytest.mark.parametrize(
    ("file", "old", "new", "validator"),
    [
        (RULES, "redis_up == 0", "redis_up === 0", "promtool-rules"),
        (ALERTMANAGER, "receiver: deadmansswitch", "receiver: somebody", "amtool-config"),
        (TEMPLATE, "{{ end }}", "{{ finish }}", "amtool-"),
    ],
)
def test_reload_rejects_an_invalid_file(stack: Stack, file: str, old: str, new: str, validator: str) -> None:
    with edited(stack, file, old, new):
        done = stack.invoke("reload", check=False, timeout=120)
        assert done.returncode == 1
        assert "was not loaded" in done.stderr, done.stderr
        assert Path(file).name in done.stderr
        assert validator in done.stderr
    alertmanager = requests.get(stack.url("/metrics", "ALERTMANAGER_PORT"), timeout=5).text
    assert "alertmanager_config_last_reload_successful 1" in alertmanager, (
        "the invalid file must not reach Alertmanager"
    )


def test_reload_repairs_a_failed_reload(stack: Stack) -> None:
    """Alertmanager has failed to load a template: the next reload, of a valid one, repairs and reports it."""
    path = stack.root / TEMPLATE
    before = path.read_text(encoding="utf-8")
    path.write_text(before + "{{ define }}", encoding="utf-8")
    try:
        assert requests.post(stack.url("/-/reload", "ALERTMANAGER_PORT"), timeout=5).status_code == 500
    finally:
        path.write_text(before, encoding="utf-8")
    metrics = requests.get(stack.url("/metrics", "ALERTMANAGER_PORT"), timeout=5).text
    assert "alertmanager_config_last_reload_successful 0" in metrics
    assert "alertmanager: " in stack.invoke("reload", timeout=120).stdout


@pytest.mark.image_set
def test_status_lists_unavailable_services(stack: Stack) -> None:
    table = stack.invoke("status").stdout
    listed = set(re.findall(r"^unavailable: ([\w-]+): not in the local images", table, re.MULTILINE))
    assert listed == stack.unavailable(), table
