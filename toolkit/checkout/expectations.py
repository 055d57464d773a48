"""Metrics and scrape jobs that may be absent in a healthy system, each with its reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FILE = Path("monitoring/prometheus/expected-absent.yml")
CONTRACTS = "images/*/contract.yml"


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
    """The metrics that may be absent in the checkout ``root``: those of `FILE`, and those of each image."""
    exported = [AbsentMetric(pattern, "", service) for service, (_, pattern) in exported_metrics(root).items()]
    return [*listed_metrics(root), *exported]


def listed_metrics(root: Path) -> list[AbsentMetric]:
    """The metrics that may be absent even while every service runs, in the order of `FILE`."""
    entries: list[Mapping[str, str]] = _load(root)["metrics"]
    return [AbsentMetric(each["metric"], each["reason"]) for each in entries]


def exported_metrics(root: Path) -> dict[str, tuple[str, str]]:
    """By service: the contract (relative to ``root``) that names its metrics, and their pattern."""
    found: dict[str, tuple[str, str]] = {}
    for path in sorted(root.glob(CONTRACTS)):
        contract = yaml.safe_load(path.read_text(encoding="utf-8"))
        if "metrics" in contract:
            found |= {name: (str(path.relative_to(root)), contract["metrics"]) for name in contract["services"]}
    return found


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
