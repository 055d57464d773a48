"""Load time of each dashboard: its model, and every query of its panels through Grafana."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from bench.figure import Figure, NotMeasuredError
from tests.live.stack import Stack
from toolkit.checkout.dashboards import PanelQuery, load, queries_of

ROUNDS = 5
CONCURRENT = 6
"""Requests that a browser sends to one address concurrently."""
SPAN = 1800
FORMS: dict[str, dict[str, Any]] = {
    "prometheus": {"type": "prometheus", "range": True},
    "loki": {"type": "loki", "queryType": "range", "maxLines": 100},
    "tempo": {"type": "tempo", "queryType": "traceql", "limit": 20, "tableType": "traces"},
}


def figures(stack: Stack) -> Iterator[Figure]:
    """The load time of each dashboard, after a minute of traffic."""
    stack.invoke("setup")
    stack.invoke("images.prepare", timeout=900)
    if "grafana" not in stack.configured():
        raise NotMeasuredError("the images in use have no Grafana")
    stack.invoke("up", "--no-smoke", timeout=900)
    stack.invoke("demo", "--seconds=60", "--rate=10", timeout=150)
    for model in load(stack.root).values():
        queries = [query for query in queries_of(model) if query.datasource in FORMS]
        seconds = [load_seconds(stack, model["uid"], queries) for _ in range(ROUNDS)]
        yield Figure(model["uid"], f"dashboard {model['uid']}, {len(queries)} queries", "s", seconds)


def load_seconds(stack: Stack, uid: str, queries: list[PanelQuery]) -> float:
    """Seconds until the model and the result of every query have arrived."""
    password = (stack.root / "secrets" / "grafana_admin_password.txt").read_text().strip()
    began = time.monotonic()
    with requests.Session() as session, ThreadPoolExecutor(CONCURRENT) as browser:
        session.auth = ("admin", password)
        session.get(stack.url(f"/api/dashboards/uid/{uid}", "GRAFANA_PORT"), timeout=30).raise_for_status()
        for response in browser.map(lambda query: run_query(session, stack, query), queries):
            response.raise_for_status()
    return time.monotonic() - began


def run_query(session: requests.Session, stack: Stack, query: PanelQuery) -> requests.Response:
    """Send one query as a panel does."""
    now = int(time.time() * 1000)
    form = dict(FORMS[query.datasource])
    source = {"uid": query.datasource, "type": form.pop("type")}
    text = {"query" if query.datasource == "tempo" else "expr": query.expr}
    panel = {"refId": query.ref, "datasource": source, "intervalMs": 15000, "maxDataPoints": 800, **form, **text}
    body = {"queries": [panel], "from": str(now - SPAN * 1000), "to": str(now)}
    return session.post(stack.url("/api/ds/query", "GRAFANA_PORT"), json=body, timeout=60)
