"""Grafana dashboards as data: panels, queries and their data sources."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path("monitoring/grafana/dashboards")
EMPTY_BY_DESIGN = Path("monitoring/grafana/empty-by-design.yml")
DEFAULTS = Path("monitoring/grafana/defaults.yml")
"""Panels with a constant default."""

Model = Mapping[str, Any]
Keys = tuple[str | int, ...]

VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::\w+)?\})")
# Grafana's built-in variables for a time range of 30 minutes and a typical panel width.
BUILT_IN = {
    "__rate_interval": "1m",
    "__interval": "15s",
    "__interval_ms": "15000",
    "__auto": "1m",
    "__range": "30m",
    "__range_s": "1800",
    "__range_ms": "1800000",
}


@dataclass(frozen=True)
class PanelQuery:
    """A query of a panel or an annotation, with every variable replaced by its default."""

    dashboard: str  # uid
    panel: str  # title; "Annotation: NAME" for one of the dashboard's annotations
    ref: str
    datasource: str  # uid
    expr: str  # PromQL, LogQL or TraceQL, depending on the data source


@dataclass(frozen=True)
class EmptyPanel:
    """A panel that may have no data in a healthy system, with the reason."""

    panel: str  # title, as in PanelQuery
    reason: str
    dashboard: str | None = None  # uid; None: any dashboard
    needs: str | None = None  # applies only while this service is unavailable

    def covers(self, query: PanelQuery, absent: Collection[str] = ()) -> bool:
        """Whether ``query`` may be empty while the services ``absent`` are unavailable."""
        matches = self.panel == query.panel and self.dashboard in {None, query.dashboard}
        return matches and (self.needs is None or self.needs in absent)


def empty_panels(root: Path) -> list[EmptyPanel]:
    """The panels that may be empty: ``monitoring/grafana/empty-by-design.yml`` of the checkout ``root``."""
    listed = yaml.safe_load((root / EMPTY_BY_DESIGN).read_text(encoding="utf-8"))
    return [EmptyPanel(**entry) for entry in listed]


def load(root: Path) -> dict[str, Model]:
    """Every dashboard of the checkout ``root``, by file, relative to ``root``.

    Raises:
        ValueError: a dashboard is not JSON.
    """
    files = sorted((root / FOLDER).rglob("*.json"))
    return {str(file.relative_to(root)): json.loads(file.read_text(encoding="utf-8")) for file in files}


def queries(root: Path) -> list[PanelQuery]:
    """The queries of all dashboards of the checkout ``root``, in the order of the panels.

    Raises:
        ValueError: a dashboard is not JSON.
    """
    return [query for model in load(root).values() for query in queries_of(model)]


def queries_of(model: Model) -> Iterator[PanelQuery]:
    """The queries of a dashboard: its panels, then its annotations."""
    for _, panel in panels(model):
        for target in panel.get("targets", []):
            if text := query_text(target):
                yield PanelQuery(
                    model["uid"],
                    panel["title"],
                    target["refId"],
                    target["datasource"]["uid"],
                    with_defaults(text, model),
                )
    for annotation in annotation_queries(model):
        yield PanelQuery(
            model["uid"],
            f"Annotation: {annotation['name']}",
            annotation["target"]["refId"],
            annotation["datasource"]["uid"],
            with_defaults(query_text(annotation["target"]), model),
        )


def panels(model: Model, keys: Keys = ()) -> Iterator[tuple[Keys, Model]]:
    """Every panel with its path in the JSON, including rows and nested panels."""
    for number, panel in enumerate(model.get("panels", [])):
        where: Keys = (*keys, "panels", number)
        yield where, panel
        yield from panels(panel, where)


def annotation_queries(model: Model) -> list[Model]:
    """The annotations that query a data source; excludes Grafana's built-in one."""
    return [each for each in model.get("annotations", {}).get("list", []) if each.get("target")]


def variables(model: Model) -> list[Model]:
    """The template variables of a dashboard."""
    found: list[Model] = model.get("templating", {}).get("list", [])
    return found


def query_text(target: Model) -> str:
    """The text of a query: ``expr`` for PromQL and LogQL, ``query`` for TraceQL; empty for Tempo's service map."""
    text: str = target.get("expr") or target.get("query") or ""
    return text


def variables_in(text: str) -> set[str]:
    """The variables used in a text, without Grafana's built-in ones (``__…``) and references to regex groups."""
    found = {match[1] or match[2] for match in VARIABLE.finditer(text)}
    return {name for name in found if not name.startswith("__") and not name.isdigit()}


def with_defaults(text: str, model: Model) -> str:
    """``text`` with every variable replaced by its default, as when the dashboard is first opened."""
    values = BUILT_IN | {each["name"]: _default(each) for each in variables(model)}
    return VARIABLE.sub(lambda match: values.get(match[1] or match[2], match[0]), text)


def _default(variable: Model) -> str:
    """A variable's initial value; for multiple values a regular expression, as Grafana formats them."""
    if variable["type"] in {"textbox", "constant"}:
        return str(variable.get("query", ""))
    value = variable.get("current", {}).get("value", "$__all")
    chosen = value if isinstance(value, list) else [value]
    if "$__all" in chosen or not any(chosen):
        return variable.get("allValue") or ".+"
    return str(chosen[0]) if len(chosen) == 1 else f"({'|'.join(chosen)})"
