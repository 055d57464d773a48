"""Questions to the Prometheus of a stack."""

from __future__ import annotations

import requests

from tests.live.stack import Stack


def value(stack: Stack, query: str) -> float:
    """The one number that a query of PromQL answers with now; 0 where it finds nothing."""
    answer = requests.get(stack.url("/api/v1/query", "PROMETHEUS_PORT"), params={"query": query}, timeout=30)
    answer.raise_for_status()
    found = answer.json()["data"]["result"]
    return float(found[0]["value"][1]) if found else 0.0


def values(stack: Stack, query: str, label: str) -> dict[str, float]:
    """The numbers that a query answers with now, by the value of a label."""
    answer = requests.get(stack.url("/api/v1/query", "PROMETHEUS_PORT"), params={"query": query}, timeout=30)
    answer.raise_for_status()
    return {each["metric"][label]: float(each["value"][1]) for each in answer.json()["data"]["result"]}
