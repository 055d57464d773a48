"""Checks that every panel has data."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from toolkit.checkout.dashboards import EmptyPanel, PanelQuery, empty_panels, queries
from toolkit.core import promql
from toolkit.core.polling import CheckError, until
from toolkit.core.report import Finding, Outcome
from toolkit.engine.stack_http import Request, Response
from toolkit.observe.stack import Stack, data, url

CHECK = "panels"
SPAN_SECONDS = 1800
"""Seconds of a dashboard's default time range."""
STEP_SECONDS = "15"
TIMEOUT_SECONDS = 20.0
RETRY_SECONDS = 9.0
"""Seconds in which a failed query is repeated, three scrapes: a series ends with one that failed."""
PAUSE_SECONDS = 3.0
STORES = ("prometheus", "loki", "tempo")


def check(stack: Stack, metrics: Iterable[Finding] = ()) -> Iterator[Finding]:
    """Every query of every panel returns data, or is listed as empty by design with a reason.

    Args:
        stack: The running stack.
        metrics: The findings of the metrics: a panel of an optional metric may be empty for the same reason.
    """
    optional_metrics = {each.subject: each for each in metrics if each.detail and each.outcome is not Outcome.FAILED}
    panel_queries = queries(stack.root)
    allowed = empty_panels(stack.root)
    for store in sorted({query.datasource for query in panel_queries}):
        of_store = [query for query in panel_queries if query.datasource == store]
        why = stack.unavailable_reason(store) if store in STORES else f"queries of {store} are not checked"
        if why:
            for query in of_store:
                yield Finding.skipped(CHECK, _subject(query), why)
            continue
        yield from _findings(stack, of_store, allowed, optional_metrics)


def _findings(
    stack: Stack, asked: Sequence[PanelQuery], allowed: Sequence[EmptyPanel], optional_metrics: Mapping[str, Finding]
) -> Iterable[Finding]:
    """The findings of the queries of one store; failed queries are repeated for `RETRY_SECONDS`."""
    findings: dict[PanelQuery, Finding] = {}

    def all_pass() -> bool:
        now = time.time()
        failed = [each for each in asked if each not in findings or findings[each].outcome is Outcome.FAILED]
        for query, answer in zip(failed, stack.fetch([_request(query, now) for query in failed]), strict=True):
            findings[query] = _finding(stack, query, answer, allowed, optional_metrics)
        return all(each.outcome is not Outcome.FAILED for each in findings.values())

    with suppress(CheckError):
        until("data of every panel", all_pass, RETRY_SECONDS, PAUSE_SECONDS)
    return findings.values()


def _finding(
    stack: Stack,
    query: PanelQuery,
    answer: Response,
    allowed: Sequence[EmptyPanel],
    optional_metrics: Mapping[str, Finding],
) -> Finding:
    subject = _subject(query)
    if answer.problem:
        return Finding.of(CHECK, subject, f"{answer.problem} ({query.expr})")
    if not empty(query.datasource, answer):
        return Finding.of(CHECK, subject, "")
    exception = next((each for each in allowed if each.covers(query, stack.unavailable)), None)
    if exception and exception.needs:
        return Finding.skipped(CHECK, subject, stack.unavailable_reason(exception.needs))
    if exception:
        return Finding.of(CHECK, subject, "", exception.reason)
    for name in sorted(promql.metrics_in(query.expr)) if query.datasource == "prometheus" else ():
        if missing := optional_metrics.get(name):
            return Finding(CHECK, missing.outcome, f"{name}: {missing.detail}", subject=subject)
    return Finding.of(CHECK, subject, f"no data: {query.expr}")


def _subject(query: PanelQuery) -> str:
    return f"{query.dashboard}: {query.panel} ({query.ref})"


def _request(query: PanelQuery, now: float) -> Request:
    """Grafana's request for a panel over the default time range; every store accepts Unix seconds."""
    span = {"start": f"{now - SPAN_SECONDS:.0f}", "end": f"{now:.0f}"}
    match query.datasource:
        case "prometheus":
            address = url("prometheus", "/api/v1/query_range", query=query.expr, step=STEP_SECONDS, **span)
        case "loki":
            address = url("loki", "/loki/api/v1/query_range", query=query.expr, step=STEP_SECONDS, limit="1", **span)
        case _:
            address = url("tempo", "/api/search", q=query.expr, limit="1", **span)
    return Request(address, timeout=TIMEOUT_SECONDS)


def empty(store: str, answer: Response) -> bool:
    """Whether a response has no data for a panel."""
    if store == "tempo":
        document = answer.json() or {}
        return not document.get("traces") and not document.get("series")
    found: Mapping[str, Any] = data(answer) or {}
    return not any(_has_values(series) for series in found.get("result", []))


def _has_values(series: Mapping[str, Any]) -> bool:
    """Whether a series has a value other than NaN, which is not drawn."""
    values = series.get("values") or [series.get("value") or (0, "NaN")]
    if "stream" in series:
        return bool(series.get("values"))
    return bool(series.get("histograms")) or any(not math.isnan(float(value)) for _, value in values)
