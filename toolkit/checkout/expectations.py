"""Metrics and scrape jobs that may be absent in a healthy system, each with its reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FILE = Path("monitoring/prometheus/expected-absent.yml")


@dataclass(frozen=True)
class AbsentMetric:
    """Metrics that may be absent: always, or while the service ``needs`` is unavailable.

    ``pattern`` is a regular expression for the whole name.
    """

    pattern: str
    reason: str
    needs: str = ""

    def matches(self, name: str) -> bool:
        """Whether the entry applies to a metric."""
        return re.fullmatch(self.pattern, name) is not None


def absent_metrics(root: Path) -> list[AbsentMetric]:
    """The metrics that may be absent: ``expected-absent.yml`` of the checkout ``root``."""
    entries: list[Mapping[str, str]] = _load(root)["metrics"]
    return [AbsentMetric(each["metric"], each["reason"], each.get("needs", "")) for each in entries]


def may_be_absent(entries: Iterable[AbsentMetric]) -> Callable[[str], bool]:
    """A predicate: whether a metric may be absent even while every service runs."""
    always = [each for each in entries if not each.needs]
    return lambda name: any(each.matches(name) for each in always)


def unscraped(root: Path) -> Mapping[str, str]:
    """The services without a scrape job, with the reason."""
    services: Mapping[str, str] = _load(root)["services"]
    return services


def _load(root: Path) -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = yaml.safe_load((root / FILE).read_text(encoding="utf-8"))
    return loaded
