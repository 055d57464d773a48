"""Checks Grafana's provisioned dashboards and the health of its data sources."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator

import yaml

from toolkit.checkout import credentials, dashboards
from toolkit.checkout.project import Project
from toolkit.core.report import Finding
from toolkit.engine.stack_http import Request
from toolkit.observe.stack import Stack, url

CHECK = "grafana"
SOURCES = "monitoring/grafana/provisioning/datasources"
GROUPS = "monitoring/grafana/groups"
PROXIED = {"alertmanager": "/api/v2/status"}
"""Data sources without a health check in Grafana, with the path that is queried through Grafana's proxy instead."""


def check(project: Project, stack: Stack) -> Iterator[Finding]:
    """Every provisioned data source is healthy, and every dashboard is loaded."""
    uids = [str(model["uid"]) for model in dashboards.load(stack.root).values()]
    if why := stack.unavailable_reason("grafana"):
        yield Finding.skipped(CHECK, f"its data sources and {len(uids)} dashboards", why)
        return
    subjects = {f"data source {uid}": _health(uid, kind) for uid, kind in _sources(stack)}
    subjects |= {f"dashboard {uid}": f"/api/dashboards/uid/{uid}" for uid in uids}
    answers = stack.fetch([Request(url("grafana", path), headers=authorization(project)) for path in subjects.values()])
    for subject, answer in zip(subjects, answers, strict=True):
        yield Finding.of(CHECK, subject, answer.problem)


def authorization(project: Project) -> dict[str, str]:
    """The Authorization header of the administrator."""
    password = credentials.read(project)["GRAFANA_ADMIN_PASSWORD"]
    return {"Authorization": f"Basic {b64encode(f'admin:{password}'.encode()).decode()}"}


def _sources(stack: Stack) -> Iterator[tuple[str, str]]:
    """The uid and type of every provisioned data source."""
    files = [*(stack.root / SOURCES).glob("*.yml")]
    files += [path for path in (stack.root / GROUPS).glob("*/*.yml") if path.parent.name in stack.services]
    for path in sorted(files):
        for source in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("datasources") or []:
            yield source["uid"], source["type"]


def _health(uid: str, kind: str) -> str:
    if kind in PROXIED:
        return f"/api/datasources/proxy/uid/{uid}{PROXIED[kind]}"
    return f"/api/datasources/uid/{uid}/health"
