"""What the running programs have loaded, held against the files of the checkout."""

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
from toolkit.engine.stack_http import Request, Response
from toolkit.observe.stack import Stack, data, url

ALERTMANAGER = Path("monitoring/alertmanager/alertmanager.yml")
RULES = ("monitoring/prometheus/rules/*.yml", "monitoring/jaeger/rules*.yml")
SCRAPES = ("monitoring/prometheus/scrape/*.yml", "monitoring/jaeger/scrape*.yml", "monitoring/proxy/scrape*.yml")
SECONDS = 20.0
"""For a program to act on a new configuration: Prometheus takes 5 s to see the targets of a new job."""

HALF = "it says that its last reload failed: what it shows is not all that it does"


def prometheus(stack: Stack) -> str:
    """Prometheus says that it has loaded everything, and has the jobs and the rules of the files.

    Raises:
        ToolkitError: it has not.
    """
    jobs = {job["job_name"] for document in _seen(stack, SCRAPES) for job in document["scrape_configs"]}
    rules = {
        _rule(group["name"], rule.get("alert") or rule["record"], seconds(rule.get("for", "0s")), rule["expr"])
        for document in _seen(stack, RULES)
        for group in document["groups"]
        for rule in group["rules"]
    }
    differences: list[str] = []

    def same() -> bool:
        paths = ("/api/v1/status/runtimeinfo", "/api/v1/scrape_pools", "/api/v1/rules")
        runtime, pools, live = map(_told, stack.fetch([Request(url("prometheus", path)) for path in paths]))
        if not runtime["reloadConfigSuccess"]:
            raise half("prometheus")
        loaded = {
            _rule(group["name"], rule["name"], float(rule.get("duration", 0)), rule["query"])
            for group in live["groups"]
            for rule in group["rules"]
        }
        differences[:] = [*_differences("job", jobs, set(pools["scrapePools"])), *_differences("rule", rules, loaded)]
        return not differences

    try:
        until("prometheus to have what the files say", same, SECONDS, 1)
    except CheckError as error:
        raise ToolkitError(
            "prometheus does not have what the files say", "; ".join(differences), log("prometheus")
        ) from error
    return f"{len(jobs)} jobs and {len(rules)} rules, as in the files"


def alertmanager(stack: Stack) -> str:
    """Alertmanager says that it has loaded everything, and its configuration is the file.

    Raises:
        ToolkitError: it has not.
    """
    status, metrics = stack.fetch([Request(url("alertmanager", path)) for path in ("/api/v2/status", "/metrics")])
    if metric(metrics, "alertmanager_config_last_reload_successful") != 1:
        raise half("alertmanager")
    text = (stack.root / ALERTMANAGER).read_text(encoding="utf-8")
    live = yaml.safe_load((status.json() or {}).get("config", {}).get("original", "")) or {}
    receivers = {receiver["name"] for receiver in yaml.safe_load(text)["receivers"]}
    differences = _differences("receiver", receivers, {receiver["name"] for receiver in live.get("receivers", [])})
    if metric(metrics, "alertmanager_config_hash") != file_hash(text):
        differences.append("it has another text: its hash is not that of the file")
    if differences:
        raise ToolkitError(f"alertmanager does not have {ALERTMANAGER}", "; ".join(differences), log("alertmanager"))
    return f"{len(receivers)} receivers, as in {ALERTMANAGER}"


def blackbox_exporter(stack: Stack) -> str:
    """The blackbox exporter says that it has loaded its file.

    Raises:
        ToolkitError: it does not.
    """
    answer = stack.get("blackbox-exporter", "/metrics")
    if metric(answer, "blackbox_exporter_config_last_reload_successful") != 1:
        raise half("blackbox-exporter")
    return "loaded"


def otel_collector(stack: Stack) -> str:
    """The collector is healthy again after it has started its pipelines anew.

    Raises:
        ToolkitError: it is not.
    """
    try:
        until("otel-collector to be healthy", lambda: stack.get("otel-collector", "/").ok, SECONDS, 1)
    except CheckError as error:
        raise ToolkitError("otel-collector does not come back", str(error), log("otel-collector")) from error
    return "started anew with the present files"


def half(program: str) -> ToolkitError:
    """The error for a program that has taken a part of its configuration only."""
    return ToolkitError(f"{program} has not taken all of the new configuration", HALF, log(program))


def log(service: str) -> str:
    """Where a program says why."""
    return f"invoke logs --service={service} --tail=20 says why"


def metric(answer: Response, name: str) -> float | None:
    """The value of a metric without labels in an exposition."""
    match = re.search(rf"^{name} (\S+)$", answer.body, re.MULTILINE)
    return float(match[1]) if match else None


def file_hash(text: str) -> float:
    """What Alertmanager shows as the hash of this configuration: the first six bytes of the MD5 sum, as a number."""
    return float(int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[:6], "little"))


def _differences(what: str, wanted: Set[str], live: Set[str]) -> list[str]:
    lacking = [f"it lacks the {what} {name}" for name in sorted(wanted - live)]
    return lacking + [f"it still has the {what} {name}" for name in sorted(live - wanted)]


def _seen(stack: Stack, patterns: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    """The files of these patterns that Prometheus sees.

    The folder of a group is mounted where it is on, that of a profile there; a file that something else is mounted over
    is not seen.
    """
    mounts = {
        PurePath(mount["target"]): Path(mount["source"])
        for mount in stack.services["prometheus"]["volumes"]
        if mount["type"] == "bind"
    }
    for path in sorted(path for pattern in patterns for path in stack.root.glob(pattern)):
        for target, source in mounts.items():
            if source.is_dir() and path.is_relative_to(source):
                covered = mounts.get(target / path.relative_to(source))
                document = yaml.safe_load((covered or path).read_text(encoding="utf-8"))
                if document:
                    yield document


def _rule(group: str, name: str, pending: float, expression: str) -> str:
    """A rule on one line, its expression written in one way."""
    written = " ".join(promql_parser.parse(expression).prettify().split())
    return f"{name} ({group}, {pending:g} s): {written}"


def _told(answer: Response) -> Any:
    found = data(answer)
    if found is None:
        raise ToolkitError("prometheus does not say what it has loaded", answer.problem, log("prometheus"))
    return found
