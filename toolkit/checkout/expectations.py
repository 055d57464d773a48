"""What need not be there in a healthy system, each with its reason: data beside the rules."""

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
    """Names of metrics (a pattern for the whole name) that may be missing: always, or while ``needs`` is absent."""

    pattern: str
    reason: str
    needs: str = ""

    def matches(self, name: str) -> bool:
        """Whether the entry is about a metric."""
        return re.fullmatch(self.pattern, name) is not None


def absent_metrics(root: Path) -> list[AbsentMetric]:
    """The metrics that may be missing in the checkout ``root``."""
    entries: list[Mapping[str, str]] = _load(root)["metrics"]
    return [AbsentMetric(each["metric"], each["reason"], each.get("needs", "")) for each in entries]


def may_be_absent(entries: Iterable[AbsentMetric]) -> Callable[[str], bool]:
    """Whether a metric of this name may be missing though every service runs."""
    always = [each for each in entries if not each.needs]
    return lambda name: any(each.matches(name) for each in always)


def unscraped(root: Path) -> Mapping[str, str]:
    """The services that no job scrapes, with the reason."""
    services: Mapping[str, str] = _load(root)["services"]
    return services


def _load(root: Path) -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = yaml.safe_load((root / FILE).read_text(encoding="utf-8"))
    return loaded
