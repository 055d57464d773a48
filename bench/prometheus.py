"""Queries against the Prometheus of a stack."""

from __future__ import annotations

import requests

from tests.live.stack import Stack


def value(stack: Stack, query: str) -> float:
    """The one number that a PromQL query returns now; 0 where the result is empty."""
    response = requests.get(stack.url("/api/v1/query", "PROMETHEUS_PORT"), params={"query": query}, timeout=30)
    response.raise_for_status()
    found = response.json()["data"]["result"]
    return float(found[0]["value"][1]) if found else 0.0


def values(stack: Stack, query: str, label: str) -> dict[str, float]:
    """The numbers that a PromQL query returns now, by the value of a label."""
    response = requests.get(stack.url("/api/v1/query", "PROMETHEUS_PORT"), params={"query": query}, timeout=30)
    response.raise_for_status()
    return {each["metric"][label]: float(each["value"][1]) for each in response.json()["data"]["result"]}
