"""Checks of Grafana's dashboards: identity, panels and links."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from itertools import combinations
from pathlib import PurePath

from toolkit.checkout import dashboards
from toolkit.checkout.dashboards import Keys, Model
from toolkit.validate import alerts
from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.grafana import dashboard_files, values

SETTINGS = "monitoring/grafana/grafana.ini"
# Mount point of monitoring/grafana in Grafana's container.
MOUNTED = "/etc/netmon-grafana"

SCHEMA_VERSIONS = range(39, 43)
FASTEST_REFRESH = 5  # seconds: Grafana's own limit
GRID_WIDTH = 24
# Grafana prints a misspelt unit after the number, without an error: so the units in use are listed here.
UNITS = {"none", "short", "percentunit", "s", "bytes", "Bps", "reqps", "ops", "cps", "rowsps", "dateTimeFromNow"}
WITH_UNIT = {"timeseries", "stat", "gauge", "bargauge", "barchart", "piechart", "state-timeline", "table"}
WITHOUT_QUERY = {"row", "text"}
SECONDS = {"s": 1, "m": 60, "h": 3600}
DASHBOARD = re.compile(r"/d/([\w-]+)")
PRESET = re.compile(r"[?&]var-(\w+)=")


def models(checkout: Checkout) -> Iterator[Finding]:
    """Every dashboard has the uid of its file name, a title, a description, tags and a moderate refresh interval."""
    seen: dict[str, str] = {}
    for file, dashboard in dashboard_files(checkout).items():
        model = dashboard.model
        uid = str(model.get("uid"))
        other = seen.setdefault(uid, file)
        problem = "" if uid == PurePath(file).stem else f"the uid {uid} is not the name of the file"
        yield dashboard.at("uid", problem=f"duplicate uid {uid}, also in {other}" if other != file else problem)
        for key in ("title", "description", "tags"):
            yield dashboard.at(key, problem="" if model.get(key) else f"the dashboard has no {key}")
        version = model.get("schemaVersion")
        unknown = "" if version in SCHEMA_VERSIONS else f"unknown schema version {version}"
        yield dashboard.at("schemaVersion", problem=unknown)
        yield dashboard.at("refresh", problem=_refresh(str(model.get("refresh", ""))))


def titles(checkout: Checkout) -> Iterator[Finding]:
    """Every title is unique in its folder and is not the name of a folder: Grafana refuses both."""
    found = dashboard_files(checkout)
    folders = {PurePath(file).parent.name.casefold() for file in found}
    seen: dict[tuple[PurePath, str], str] = {}
    for file, dashboard in found.items():
        title = str(dashboard.model.get("title"))
        other = seen.setdefault((PurePath(file).parent, title.casefold()), file)
        problem = "" if other == file else f"duplicate title {title}, also in {other}"
        if title.casefold() in folders:
            problem = f"the title {title} is the name of a folder"
        yield dashboard.at("title", problem=problem)


def panels(checkout: Checkout) -> Iterator[Finding]:
    """Every panel has a unique id, its own place, a title, a description, a unit and a query."""
    for dashboard in dashboard_files(checkout).values():
        found = list(dashboards.panels(dashboard.model))
        ids = [panel.get("id") for _, panel in found]
        for keys, panel in found:
            title = panel.get("title") or f"number {panel.get('id')}"
            for key, problem in _panel(panel):
                yield dashboard.at(*keys, *key, problem=problem and f"the panel {title} {problem}")
            duplicate = ids.count(panel.get("id")) > 1
            yield dashboard.at(*keys, "id", problem=f"the panel {title} has a duplicate id" if duplicate else "")
        for (_, one), (keys, two) in combinations(found, 2):
            if _overlap(one["gridPos"], two["gridPos"]):
                problem = f"the panel {two.get('title')} overlaps {one.get('title')}"
                yield dashboard.at(*keys, "gridPos", problem=problem)


def links(checkout: Checkout) -> Iterator[Finding]:
    """Every link, also of alerts, leads to an existing dashboard and sets only variables of that dashboard."""
    found = dashboard_files(checkout).values()
    known = {
        str(each.model.get("uid")): {variable["name"] for variable in dashboards.variables(each.model)}
        for each in found
    }
    tags = {tag for each in found for tag in each.model.get("tags", [])}
    for dashboard in found:
        for keys, url in values(dashboard.model, "url"):
            yield dashboard.at(*keys, problem=_link(url, known))
        for number, link in enumerate(dashboard.model.get("links", [])):
            unknown = sorted(set(link["tags"]) - tags)
            problem = f"no dashboard has the tag {unknown[0]}" if unknown else ""
            yield dashboard.at("links", number, "tags", problem=problem)
    for source in alerts.files(checkout, alerts.RULES + alerts.LOG_RULES):
        for scalar in source.scalars():
            if DASHBOARD.search(scalar.value):
                yield source.at(scalar, _link(scalar.value, known))


def home(checkout: Checkout) -> Iterator[Finding]:
    """Grafana's home dashboard exists."""
    lines = (checkout.root / SETTINGS).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        key, _, value = (part.strip() for part in line.partition("="))
        if key == "default_home_dashboard_path":
            known = value.replace(MOUNTED, "monitoring/grafana") in dashboard_files(checkout)
            yield Finding(SETTINGS, number, "" if known else f"unknown dashboard {value}")


def _refresh(refresh: str) -> str:
    """The problem with a refresh interval; empty if none."""
    match = re.fullmatch(r"(\d+)([smh])", refresh)
    if not match:
        return f"the refresh {refresh!r} is not a duration"
    seconds = int(match[1]) * SECONDS[match[2]]
    return "" if seconds >= FASTEST_REFRESH else f"a refresh of {refresh} is too frequent: {FASTEST_REFRESH}s at least"


def _panel(panel: Model) -> Iterator[tuple[Keys, str]]:
    """The keys that a panel must have, each with its problem; empty if none."""
    place, config = panel["gridPos"], panel.get("fieldConfig", {})
    yield ("title",), "" if panel.get("title") else "has no title"
    yield ("gridPos",), "" if place["x"] + place["w"] <= GRID_WIDTH else "exceeds the width of the grid"
    if panel["type"] in WITHOUT_QUERY:
        return
    yield ("description",), "" if panel.get("description") else "has no description"
    with_query = [each for each in panel.get("targets", []) if dashboards.query_text(each) or each.get("queryType")]
    yield ("targets",), "" if with_query else "has no query"
    if panel["type"] in WITH_UNIT:
        yield ("fieldConfig", "defaults", "unit"), _unit(config.get("defaults", {}).get("unit"))
    elif panel["type"] == "heatmap":
        yield ("options", "yAxis", "unit"), _unit(panel.get("options", {}).get("yAxis", {}).get("unit"))
    for number, override in enumerate(config.get("overrides", [])):
        for each in override["properties"]:
            if each["id"] == "unit":
                yield ("fieldConfig", "overrides", number), _unit(each["value"])


def _unit(unit: str | None) -> str:
    """The problem with a unit; empty if none."""
    if not unit:
        return "has no unit"
    return "" if unit in UNITS else f"has the unknown unit {unit}"


def _overlap(one: Mapping[str, int], two: Mapping[str, int]) -> bool:
    """Whether two rectangles of the grid share a cell."""
    return all(
        one[start] < two[start] + two[size] and two[start] < one[start] + one[size]
        for start, size in (("x", "w"), ("y", "h"))
    )


def _link(url: str, known: Mapping[str, Set[str]]) -> str:
    """The problem with a link to a dashboard; empty if none. ``known`` has the variables of each dashboard."""
    match = DASHBOARD.search(url)
    if not match:
        return ""
    if match[1] not in known:
        return f"unknown dashboard {match[1]}"
    unknown = sorted(set(PRESET.findall(url)) - known[match[1]])
    return f"the dashboard {match[1]} has no variable {unknown[0]}" if unknown else ""
