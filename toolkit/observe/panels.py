"""Whether every panel shows something."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from toolkit.checkout.dashboards import EmptyPanel, PanelQuery, empty_panels, queries
from toolkit.core import promql
from toolkit.core.report import Finding, Outcome
from toolkit.engine.stack_http import Request, Response
from toolkit.observe.stack import Stack, data, url

CHECK = "panels"
SPAN = 1800
"""Seconds that a dashboard shows at first."""
STEP = "15"
TIMEOUT = 20.0
STORES = ("prometheus", "loki", "tempo")


def check(stack: Stack, metrics: Iterable[Finding] = ()) -> Iterator[Finding]:
    """Every query of every panel returns data, or is listed with the reason why it may not.

    Args:
        stack: The running stack.
        metrics: What was found of the metrics: a panel of one that need not be there may be empty for the same reason.
    """
    excused = {each.subject: each for each in metrics if each.detail and each.outcome is not Outcome.FAILED}
    asked = queries(stack.root)
    allowed = empty_panels(stack.root)
    for store in sorted({query.datasource for query in asked}):
        mine = [query for query in asked if query.datasource == store]
        why = stack.why_not(store) if store in STORES else f"nothing here asks {store} as Grafana does"
        if why:
            for query in mine:
                yield Finding.skipped(CHECK, _subject(query), why)
            continue
        now = time.time()
        answers = stack.fetch([_request(query, now) for query in mine])
        for query, answer in zip(mine, answers, strict=True):
            yield _judge(stack, query, answer, allowed, excused)


def _judge(
    stack: Stack, query: PanelQuery, answer: Response, allowed: Sequence[EmptyPanel], excused: Mapping[str, Finding]
) -> Finding:
    subject = _subject(query)
    if answer.problem:
        return Finding.of(CHECK, subject, f"{answer.problem} ({query.expr})")
    if not empty(query.datasource, answer):
        return Finding.of(CHECK, subject, "")
    excuse = next((each for each in allowed if each.covers(query, stack.unavailable)), None)
    if excuse and excuse.needs:
        return Finding.skipped(CHECK, subject, stack.why_not(excuse.needs))
    if excuse:
        return Finding.of(CHECK, subject, "", excuse.reason)
    for name in sorted(promql.metrics_in(query.expr)) if query.datasource == "prometheus" else ():
        if missing := excused.get(name):
            return Finding(CHECK, missing.outcome, f"{name}: {missing.detail}", subject=subject)
    return Finding.of(CHECK, subject, f"it shows nothing: {query.expr}")


def _subject(query: PanelQuery) -> str:
    return f"{query.dashboard}: {query.panel} ({query.ref})"


def _request(query: PanelQuery, now: float) -> Request:
    """The request that Grafana sends for a panel over the first time range; every store takes Unix seconds."""
    span = {"start": f"{now - SPAN:.0f}", "end": f"{now:.0f}"}
    match query.datasource:
        case "prometheus":
            address = url("prometheus", "/api/v1/query_range", query=query.expr, step=STEP, **span)
        case "loki":
            address = url("loki", "/loki/api/v1/query_range", query=query.expr, step=STEP, limit="1", **span)
        case _:
            address = url("tempo", "/api/search", q=query.expr, limit="1", **span)
    return Request(address, timeout=TIMEOUT)


def empty(store: str, answer: Response) -> bool:
    """Whether an answer holds nothing that a panel could show."""
    if store == "tempo":
        document = answer.json() or {}
        return not document.get("traces") and not document.get("series")
    found: Mapping[str, Any] = data(answer) or {}
    return not any(_shows(series) for series in found.get("result", []))


def _shows(series: Mapping[str, Any]) -> bool:
    """Whether a series has a value; "not a number" is drawn as nothing."""
    values = series.get("values") or [series.get("value") or (0, "NaN")]
    if "stream" in series:
        return bool(series.get("values"))
    return bool(series.get("histograms")) or any(not math.isnan(float(value)) for _, value in values)
