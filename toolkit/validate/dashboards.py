"""Grafana's dashboards: every panel explains itself, and every link leads to a place that exists."""

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
# Where Grafana's container sees monitoring/grafana.
MOUNTED = "/etc/netmon-grafana"

SCHEMA_VERSIONS = range(39, 43)
FASTEST_REFRESH = 5  # seconds: Grafana's own limit
GRID_WIDTH = 24
# Spelt wrong, a unit is shown as a word behind the number: only those that the dashboards use are known here.
UNITS = {"none", "short", "percentunit", "s", "bytes", "Bps", "reqps", "ops", "cps", "rowsps", "dateTimeFromNow"}
WITH_UNIT = {"timeseries", "stat", "gauge", "bargauge", "barchart", "piechart", "state-timeline", "table"}
WITHOUT_QUERY = {"row", "text"}
SECONDS = {"s": 1, "m": 60, "h": 3600}
DASHBOARD = re.compile(r"/d/([\w-]+)")
PRESET = re.compile(r"[?&]var-(\w+)=")


def models(checkout: Checkout) -> Iterator[Finding]:
    """Every dashboard has the uid that its file is named after, says what it answers, and refreshes calmly."""
    seen: dict[str, str] = {}
    for file, dashboard in dashboard_files(checkout).items():
        model = dashboard.model
        uid = str(model.get("uid"))
        other = seen.setdefault(uid, file)
        problem = "" if uid == PurePath(file).stem else f"the uid {uid} is not the name of the file"
        yield dashboard.at("uid", problem=f"{other} has the uid {uid} as well" if other != file else problem)
        for key in ("title", "description", "tags"):
            yield dashboard.at(key, problem="" if model.get(key) else f"the dashboard has no {key}")
        version = model.get("schemaVersion")
        unknown = "" if version in SCHEMA_VERSIONS else f"the schema version {version} is not known here"
        yield dashboard.at("schemaVersion", problem=unknown)
        yield dashboard.at("refresh", problem=_refresh(str(model.get("refresh", ""))))


def titles(checkout: Checkout) -> Iterator[Finding]:
    """Every dashboard has a title that neither a folder nor another dashboard of its folder has: Grafana refuses it."""
    found = dashboard_files(checkout)
    folders = {PurePath(file).parent.name.casefold() for file in found}
    seen: dict[tuple[PurePath, str], str] = {}
    for file, dashboard in found.items():
        title = str(dashboard.model.get("title"))
        other = seen.setdefault((PurePath(file).parent, title.casefold()), file)
        problem = "" if other == file else f"{other} has the title {title} as well"
        if title.casefold() in folders:
            problem = f"the title {title} is the name of a folder"
        yield dashboard.at("title", problem=problem)


def panels(checkout: Checkout) -> Iterator[Finding]:
    """Every panel has an id and a place of its own, a title, a description, a unit and a query."""
    for dashboard in dashboard_files(checkout).values():
        found = list(dashboards.panels(dashboard.model))
        ids = [panel.get("id") for _, panel in found]
        for keys, panel in found:
            title = panel.get("title") or f"number {panel.get('id')}"
            for key, problem in _panel(panel):
                yield dashboard.at(*keys, *key, problem=problem and f"the panel {title} {problem}")
            twice = ids.count(panel.get("id")) > 1
            yield dashboard.at(*keys, "id", problem=f"the panel {title} has the id of another one" if twice else "")
        for (_, one), (keys, two) in combinations(found, 2):
            if _overlap(one["gridPos"], two["gridPos"]):
                problem = f"the panel {two.get('title')} lies over {one.get('title')}"
                yield dashboard.at(*keys, "gridPos", problem=problem)


def links(checkout: Checkout) -> Iterator[Finding]:
    """Every link, of alerts too, leads to a dashboard that there is, and presets only variables that it has."""
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
    """The dashboard that Grafana opens with is one of these."""
    lines = (checkout.root / SETTINGS).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        key, _, value = (part.strip() for part in line.partition("="))
        if key == "default_home_dashboard_path":
            known = value.replace(MOUNTED, "monitoring/grafana") in dashboard_files(checkout)
            yield Finding(SETTINGS, number, "" if known else f"there is no dashboard {value}")


def _refresh(refresh: str) -> str:
    """What is wrong with the time between two refreshes."""
    match = re.fullmatch(r"(\d+)([smh])", refresh)
    if not match:
        return f"the refresh {refresh!r} is no time"
    seconds = int(match[1]) * SECONDS[match[2]]
    return "" if seconds >= FASTEST_REFRESH else f"a refresh of {refresh} is too fast: {FASTEST_REFRESH}s at least"


def _panel(panel: Model) -> Iterator[tuple[Keys, str]]:
    """The keys that a panel must have, each with what is wrong with it; an empty text where nothing is."""
    place, config = panel["gridPos"], panel.get("fieldConfig", {})
    yield ("title",), "" if panel.get("title") else "has no title"
    yield ("gridPos",), "" if place["x"] + place["w"] <= GRID_WIDTH else "reaches over the edge"
    if panel["type"] in WITHOUT_QUERY:
        return
    yield ("description",), "" if panel.get("description") else "has no description"
    asked = [each for each in panel.get("targets", []) if dashboards.query_text(each) or each.get("queryType")]
    yield ("targets",), "" if asked else "has no query"
    if panel["type"] in WITH_UNIT:
        yield ("fieldConfig", "defaults", "unit"), _unit(config.get("defaults", {}).get("unit"))
    elif panel["type"] == "heatmap":
        yield ("options", "yAxis", "unit"), _unit(panel.get("options", {}).get("yAxis", {}).get("unit"))
    for number, override in enumerate(config.get("overrides", [])):
        for each in override["properties"]:
            if each["id"] == "unit":
                yield ("fieldConfig", "overrides", number), _unit(each["value"])


def _unit(unit: str | None) -> str:
    """What is wrong with a unit."""
    if not unit:
        return "has no unit"
    return "" if unit in UNITS else f"has the unit {unit}, which is not known here"


def _overlap(one: Mapping[str, int], two: Mapping[str, int]) -> bool:
    """Whether two rectangles of the grid share a cell."""
    return all(
        one[start] < two[start] + two[size] and two[start] < one[start] + one[size]
        for start, size in (("x", "w"), ("y", "h"))
    )


def _link(url: str, known: Mapping[str, Set[str]]) -> str:
    """What is wrong with a link, where it leads to a dashboard; ``known`` has the variables of each."""
    match = DASHBOARD.search(url)
    if not match:
        return ""
    if match[1] not in known:
        return f"there is no dashboard {match[1]}"
    unknown = sorted(set(PRESET.findall(url)) - known[match[1]])
    return f"the dashboard {match[1]} has no variable {unknown[0]}" if unknown else ""
