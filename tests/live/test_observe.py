"""The observability of the running stack tells the truth, and the tasks that say so can say no."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.live.stack import Stack, until

RULES = "monitoring/prometheus/rules/redis.yml"
TEMPLATE = "monitoring/alertmanager/templates/netmon.tmpl"
ALERTMANAGER = "monitoring/alertmanager/alertmanager.yml"


@pytest.fixture(scope="module")
def visited(stack: Stack) -> Stack:
    """The shared stack after the demo's traffic."""
    report = stack.invoke("demo", "--seconds=20", "--rate=20", timeout=120).stdout
    assert re.search(r"\b\d+ requests in \d+ s: .*200: \d+", report), report
    assert "no answer" not in report
    return stack


@contextmanager
def changed(stack: Stack, file: str, old: str, new: str) -> Iterator[Path]:
    """A file of the copy is another one while the block runs."""
    path = stack.root / file
    before = path.read_text(encoding="utf-8")
    assert old in before, file
    path.write_text(before.replace(old, new, 1), encoding="utf-8")
    try:
        yield path
    finally:
        path.write_text(before, encoding="utf-8")


def test_metrics_panels_and_one_request_are_what_the_files_say(visited: Stack) -> None:
    done = visited.invoke("observe.check", check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"one request +ok +3 of 3", done.stdout), done.stdout
    named = set(re.findall(r"([\w-]+) is not in the local images", done.stdout))
    assert named == visited.absent(), done.stdout


def test_a_service_that_is_gone_is_missed(visited: Stack) -> None:
    visited.compose("stop", "redis-exporter")
    try:
        query = visited.url('/api/v1/query?query=up{job="redis-exporter"}==0', "PROMETHEUS_PORT")
        until(lambda: requests.get(query, timeout=5).json()["data"]["result"], 20, "Prometheus to miss it")
        done = visited.invoke("observe.check", check=False, timeout=120)
        assert done.returncode == 1
        assert re.search(r"targets +failed +redis-exporter", done.stdout), done.stdout
    finally:
        visited.compose("start", "redis-exporter")
        visited.invoke("wait")


def test_a_metric_that_is_renamed_is_missed(visited: Stack) -> None:
    path = visited.root / RULES
    before = path.read_text(encoding="utf-8")
    path.write_text(before.replace("redis_up == 0", "redis_is_up == 0"), encoding="utf-8")
    try:
        done = visited.invoke("observe.check", check=False, timeout=120)
    finally:
        path.write_text(before, encoding="utf-8")
    assert done.returncode == 1
    assert re.search(r"metrics +failed +redis_is_up +.*redis\.yml:RedisDown", done.stdout), done.stdout


def test_signals_that_do_not_arrive_are_missed(visited: Stack) -> None:
    visited.compose("stop", "otel-collector")
    try:
        done = visited.invoke("smoke", "--timeout=20", check=False)
        assert done.returncode == 1
        assert re.search(r"\bsignals +inside +failed", done.stdout), done.stdout
    finally:
        visited.compose("start", "otel-collector")
        visited.invoke("wait")


def test_reload_takes_a_change_without_a_restart(stack: Stack) -> None:
    before = stack.container("prometheus")["State"]["StartedAt"]
    with changed(stack, RULES, "- alert: RedisDown", "- alert: RedisGone"):
        told = stack.invoke("reload", timeout=120).stdout
        assert "as in the files" in told
        rules = requests.get(stack.url("/api/v1/rules", "PROMETHEUS_PORT"), timeout=5).text
        assert '"RedisGone"' in rules
        assert '"RedisDown"' not in rules
    stack.invoke("reload", timeout=120)
    assert '"RedisDown"' in requests.get(stack.url("/api/v1/rules", "PROMETHEUS_PORT"), timeout=5).text
    assert stack.container("prometheus")["State"]["StartedAt"] == before


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        (RULES, "redis_up == 0", "redis_up === 0", "promtool-rules"),
        (ALERTMANAGER, "receiver: deadmansswitch", "receiver: somebody", "amtool-config"),
        (TEMPLATE, "{{ end }}", "{{ finish }}", "amtool-"),
    ],
)
def test_reload_refuses_what_a_program_would_not_take(stack: Stack, file: str, old: str, new: str, says: str) -> None:
    with changed(stack, file, old, new):
        done = stack.invoke("reload", check=False, timeout=120)
        assert done.returncode == 1
        assert "was not loaded" in done.stderr, done.stderr
        assert Path(file).name in done.stderr
        assert says in done.stderr
    alertmanager = requests.get(stack.url("/metrics", "ALERTMANAGER_PORT"), timeout=5).text
    assert "alertmanager_config_last_reload_successful 1" in alertmanager, "nothing was tried"


def test_half_a_reload_is_noticed(stack: Stack) -> None:
    """Somebody else makes Alertmanager read a broken template: the next reload of a sound file mends and says so."""
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
def test_what_is_absent_is_named_by_status_too(stack: Stack) -> None:
    table = stack.invoke("status").stdout
    assert set(re.findall(r"^unavailable: ([\w-]+): not in the local images", table, re.MULTILINE)) == stack.absent(), (
        table
    )


def test_the_collector_is_asked_from_outside(stack: Stack) -> None:
    stack.compose("kill", "--signal", "STOP", "otel-collector")
    try:
        until(
            lambda: "unhealthy" in stack.invoke("status", check=False).stdout or None, 90, "the collector to be missed"
        )
    finally:
        stack.compose("kill", "--signal", "CONT", "otel-collector")
    stack.invoke("wait")
