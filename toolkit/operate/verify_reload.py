"""Compares the live configuration of the running programs with the files of the checkout."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Set
from pathlib import Path, PurePath
from typing import Any

import promql_parser
import yaml

from toolkit.core.durations import seconds
from toolkit.core.errors import ToolkitError
from toolkit.core.polling import CheckError, until
from toolkit.engine.compose import Result
from toolkit.engine.stack_http import Request, Response
from toolkit.observe.stack import Stack, data, url

ALERTMANAGER = Path("monitoring/alertmanager/alertmanager.yml")
RULES = ("monitoring/prometheus/rules/**/*.yml", "monitoring/jaeger/rules*.yml", "monitoring/backup/rules*.yml")
SCRAPES = ("monitoring/prometheus/scrape/**/*.yml", "monitoring/jaeger/scrape*.yml", "monitoring/backup/scrape*.yml",
           "monitoring/proxy/scrape*.yml", "monitoring/victorialogs/scrape*.yml")  # fmt: skip
TIMEOUT_SECONDS = 20.0
"""Timeout for a program to apply a new configuration: Prometheus needs 5 s to discover the targets of a new job."""

BLACKBOX_SECONDS = 30.0
"""Timeout of a request to the blackbox exporter."""
PARTIAL = "its last reload failed: its API may not show the configuration in use"


def prometheus(stack: Stack) -> str:
    """Prometheus reports a successful reload, and has the jobs and the rules of the files.

    Raises:
        ToolkitError: the reload failed, or jobs or rules differ.
    """
    jobs = {job["job_name"] for document in _mounted_documents(stack, SCRAPES) for job in document["scrape_configs"]}
    rules = {
        _normalized(group["name"], rule.get("alert") or rule["record"], seconds(rule.get("for", "0s")), rule["expr"])
        for document in _mounted_documents(stack, RULES)
        for group in document["groups"]
        for rule in group["rules"]
    }
    differences: list[str] = []

    def matches() -> bool:
        paths = ("/api/v1/status/runtimeinfo", "/api/v1/scrape_pools", "/api/v1/rules")
        runtime, pools, live = map(_payload, stack.fetch([Request(url("prometheus", path)) for path in paths]))
        if not runtime["reloadConfigSuccess"]:
            raise partial_reload("prometheus")
        loaded = {
            _normalized(group["name"], rule["name"], float(rule.get("duration", 0)), rule["query"])
            for group in live["groups"]
            for rule in group["rules"]
        }
        differences[:] = [*_differences("job", jobs, set(pools["scrapePools"])), *_differences("rule", rules, loaded)]
        return not differences

    try:
        until("prometheus to match the files", matches, TIMEOUT_SECONDS, 1)
    except CheckError as error:
        raise ToolkitError(
            "prometheus does not match the files", "; ".join(differences), log_hint("prometheus")
        ) from error
    return f"{len(jobs)} jobs and {len(rules)} rules, as in the files"


def alertmanager(stack: Stack) -> str:
    """Alertmanager reports a successful reload, and has the configuration of the file.

    Raises:
        ToolkitError: the reload failed, or the configuration differs.
    """
    status, metrics = stack.fetch([Request(url("alertmanager", path)) for path in ("/api/v2/status", "/metrics")])
    if metric(metrics.body, "alertmanager_config_last_reload_successful") != 1:
        raise partial_reload("alertmanager")
    text = (stack.root / ALERTMANAGER).read_text(encoding="utf-8")
    live = yaml.safe_load((status.json() or {}).get("config", {}).get("original", "")) or {}
    receivers = {receiver["name"] for receiver in yaml.safe_load(text)["receivers"]}
    differences = _differences("receiver", receivers, {receiver["name"] for receiver in live.get("receivers", [])})
    if metric(metrics.body, "alertmanager_config_hash") != file_hash(text):
        differences.append("its hash is not that of the file")
    if differences:
        raise ToolkitError(
            f"alertmanager does not match {ALERTMANAGER}", "; ".join(differences), log_hint("alertmanager")
        )
    return f"{len(receivers)} receivers, as in {ALERTMANAGER}"


def blackbox_exporter(stack: Stack) -> str:
    """The blackbox exporter reports a successful reload.

    Raises:
        ToolkitError: its last reload failed.
    """
    exposition = ask_blackbox(stack, "/metrics").stdout
    if metric(exposition, "blackbox_exporter_config_last_reload_successful") != 1:
        raise partial_reload("blackbox-exporter")
    return "loaded"


def ask_blackbox(stack: Stack, *arguments: str) -> Result:
    """Send a request to the blackbox exporter from its own container: options of wget, and the path."""
    *options, path = arguments
    wget = ("wget", "-q", "-O", "-", *options, f"http://127.0.0.1:9115{path}")
    return stack.docker.exec("blackbox-exporter", *wget, timeout=BLACKBOX_SECONDS)


def otel_collector(stack: Stack) -> str:
    """The collector is healthy after the restart of its pipelines.

    Raises:
        ToolkitError: it is not healthy within `TIMEOUT_SECONDS`.
    """
    try:
        until("otel-collector to be healthy", lambda: stack.get("otel-collector", "/").ok, TIMEOUT_SECONDS, 1)
    except CheckError as error:
        raise ToolkitError(
            "otel-collector is not healthy after its reload", str(error), log_hint("otel-collector")
        ) from error
    return "pipelines restarted with the current files"


def partial_reload(program: str) -> ToolkitError:
    """The error for a program that has loaded only a part of its configuration."""
    return ToolkitError(f"{program} has not loaded the whole new configuration", PARTIAL, log_hint(program))


def log_hint(service: str) -> str:
    """The command that shows the reason in a program's log."""
    return f"run: invoke logs --service={service} --tail=20"


def metric(exposition: str, name: str) -> float | None:
    """The value of a metric without labels in an exposition."""
    match = re.search(rf"^{name} (\S+)$", exposition, re.MULTILINE)
    return float(match[1]) if match else None


def file_hash(text: str) -> float:
    """Alertmanager's hash of a configuration: the first six bytes of its MD5 sum as a number."""
    return float(int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[:6], "little"))


def _differences(kind: str, expected: Set[str], live: Set[str]) -> list[str]:
    missing = [f"missing {kind} {name}" for name in sorted(expected - live)]
    return missing + [f"stale {kind} {name}" for name in sorted(live - expected)]


def _mounted_documents(stack: Stack, patterns: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    """The documents of these patterns that Prometheus' container sees.

    Folders of groups and profiles count where they are mounted; files in a folder on which another is mounted do not.
    """
    mounts = {
        PurePath(mount["target"]): Path(mount["source"])
        for mount in stack.services["prometheus"]["volumes"]
        if mount["type"] == "bind"
    }
    for path in sorted(path for pattern in patterns for path in stack.root.glob(pattern)):
        for target, source in mounts.items():
            if source.is_dir() and path.is_relative_to(source):
                inside = target / path.relative_to(source)
                if not (mounts.keys() & set(inside.parents)) - {target, *target.parents}:
                    yield yaml.safe_load(path.read_text(encoding="utf-8"))


def _normalized(group: str, name: str, pending: float, expression: str) -> str:
    """A rule on one line, with its expression in canonical form."""
    written = " ".join(promql_parser.parse(expression).prettify().split())
    return f"{name} ({group}, {pending:g} s): {written}"


def _payload(answer: Response) -> Any:
    found = data(answer)
    if found is None:
        raise ToolkitError("prometheus does not report its configuration", answer.problem, log_hint("prometheus"))
    return found
