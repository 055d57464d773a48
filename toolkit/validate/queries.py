"""What the dashboards ask: it can be parsed, its variables exist, and so do the metrics that are our own."""

from __future__ import annotations

import re
from collections.abc import Iterator

from toolkit.checkout import dashboards, expectations
from toolkit.checkout.dashboards import Keys, Model
from toolkit.core.promql import metrics_in, partial_sums
from toolkit.validate.alerts import rules
from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.grafana import RULES, dashboard_files, targets, tracked, values

# Where the metrics are made that this repository exposes itself.
OWN_METRICS = {"netmon_": "app/netmon/", "http_": "app/netmon/", "container_": "monitoring/container-exporter/"}
# What a client library adds to the name that stands in the program.
SUFFIXES = re.compile(r"_(?:bucket|sum|count|total|info)$")
STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`')
SELECTOR = re.compile(r"""\{\s*\w+\s*(?:=~?|!=|!~)\s*["`]""")
CLOSING = {")": "(", "]": "[", "}": "{"}


def parsed(checkout: Checkout) -> Iterator[Finding]:
    """Every query can be parsed: PromQL as a whole, of LogQL and TraceQL the selector and the brackets."""
    for dashboard in dashboard_files(checkout).values():
        for keys, target in targets(dashboard.model):
            yield dashboard.at(*keys, _text_key(target), problem=_problem(target, dashboard.model))


def variables(checkout: Checkout) -> Iterator[Finding]:
    """Every variable in a query, a link or a title is one of the dashboard's."""
    for dashboard in dashboard_files(checkout).values():
        known = {variable["name"] for variable in dashboards.variables(dashboard.model)}
        for keys, text in _texts(dashboard.model):
            unknown = sorted(dashboards.variables_in(text) - known)
            yield dashboard.at(*keys, problem=f"there is no variable {unknown[0]}" if unknown else "")


def metrics(checkout: Checkout) -> Iterator[Finding]:
    """A metric that a rule or a program of this repository makes is one that it makes; others are asked for live."""
    recorded = {
        rule["record"]
        for file in tracked(checkout, RULES, ".yml")
        for group in checkout.source(file).data.get("groups") or []
        for rule in group["rules"]
        if "record" in rule
    }
    programs = {prefix: _programs(checkout, folder) for prefix, folder in OWN_METRICS.items()}
    for dashboard in dashboard_files(checkout).values():
        for keys, target in targets(dashboard.model):
            if target["datasource"]["type"] != "prometheus":
                continue
            for name in sorted(_metrics(target, dashboard.model)):
                program = next((text for prefix, text in programs.items() if name.startswith(prefix)), None)
                problem = ""
                if ":" in name:
                    problem = "" if name in recorded else f"no rule records {name}"
                elif program is not None and not {f'"{name}"', f'"{SUFFIXES.sub("", name)}"'} & program:
                    problem = f"no program of this repository exposes {name}"
                yield dashboard.at(*keys, _text_key(target), problem=problem)


def sums(checkout: Checkout) -> Iterator[Finding]:
    """No panel adds what need not be there: one empty operand hides the other."""
    absent = expectations.may_be_absent(expectations.absent_metrics(checkout.root))
    for dashboard in dashboard_files(checkout).values():
        for keys, target in targets(dashboard.model):
            if target["datasource"]["type"] != "prometheus":
                continue
            try:
                empty = partial_sums(dashboards.with_defaults(dashboards.query_text(target), dashboard.model), absent)
            except ValueError:
                continue  # parsed() reports it
            problem = f'the sum is empty where {empty[0]} is: add "or vector(0)"' if empty else ""
            yield dashboard.at(*keys, _text_key(target), problem=problem)


def missed(checkout: Checkout) -> Iterator[Finding]:
    """Every metric that may be missing is read by a rule or a panel, and has a reason or is in its image's contract."""
    source = checkout.source(str(expectations.FILE))
    asked = [query.expr for each in dashboard_files(checkout).values() for query in dashboards.queries_of(each.model)
             if query.datasource == "prometheus"]  # fmt: skip
    read = {name for text in (*asked, *(rule.data["expr"] for rule in rules(checkout))) for name in _read(text)}

    def unread(pattern: str) -> str:
        known = any(re.fullmatch(pattern, name) for name in read)
        return "" if known else f"no rule and no panel reads {pattern}"

    for number, entry in enumerate(expectations.listed_metrics(checkout.root)):
        yield source.finding("metrics", number, "metric", problem=unread(entry.pattern))
        yield source.finding("metrics", number, "reason", problem="" if entry.reason else "there is no reason")
    for file, pattern in expectations.exported_metrics(checkout.root).values():
        yield checkout.source(file).finding("metrics", problem=unread(pattern))


def excused(checkout: Checkout) -> Iterator[Finding]:
    """Every panel that may be empty exists and has a reason, and what it waits for is a service."""
    source = checkout.source(str(dashboards.EMPTY_BY_DESIGN))
    asked = [query for each in dashboard_files(checkout).values() for query in dashboards.queries_of(each.model)]
    services = {name for each in checkout.whole for name in each.services}
    for number, entry in enumerate(source.data):
        excuse = dashboards.EmptyPanel(**{"panel": "", "reason": "", **entry})
        known = any(excuse.covers(query, services) for query in asked)
        foreign = excuse.needs and excuse.needs not in services
        problems = {
            "needs": f"{excuse.needs} is no service" if foreign else "",
            "panel": "" if known or foreign else f"no dashboard has such a panel {excuse.panel} with a query",
            "reason": "" if excuse.reason else "there is no reason",
        }
        for key, problem in problems.items():
            yield source.finding(number, key, problem=problem)


def _programs(checkout: Checkout, folder: str) -> set[str]:
    """Every string with quotation marks in the Python files below a folder."""
    files = tracked(checkout, folder, ".py")
    return {text for file in files for text in STRINGS.findall((checkout.root / file).read_text(encoding="utf-8"))}


def _metrics(target: Model, model: Model) -> set[str]:
    """The metrics of a query."""
    return _read(dashboards.with_defaults(dashboards.query_text(target), model))


def _read(expr: str) -> set[str]:
    """The metrics of an expression; none where it does not parse, which another check reports."""
    try:
        return metrics_in(expr)
    except ValueError:
        return set()


def _texts(model: Model) -> Iterator[tuple[Keys, str]]:
    """Every text in which Grafana replaces variables."""
    for name in ("expr", "query", "url", "title"):
        for keys, value in values(model, name):
            if isinstance(value, str):
                yield keys, value


def _text_key(target: Model) -> str:
    return "expr" if "expr" in target else "query"


def _problem(target: Model, model: Model) -> str:
    """Why a query cannot be asked; an empty text where it can, or is made up of options alone."""
    text = dashboards.with_defaults(dashboards.query_text(target), model)
    match target["datasource"]["type"]:
        case "prometheus":
            try:
                metrics_in(text)
            except ValueError as error:
                return f"not PromQL: {error}"
        case "loki":
            return _unbalanced(text) or ("" if SELECTOR.search(text) else "LogQL without a stream selector")
        case "tempo" if text:
            return _unbalanced(text) or ("" if text.startswith("{") else "TraceQL without a span selector")
    return ""


def _unbalanced(text: str) -> str:
    """Which bracket or string of a query has no counterpart."""
    bare = STRINGS.sub("", text)
    pending: list[str] = []
    for character in bare:
        if character in CLOSING.values():
            pending.append(character)
        elif character in CLOSING and (not pending or pending.pop() != CLOSING[character]):
            return f"{character} closes nothing"
    if pending:
        return f"{pending[-1]} is not closed"
    return "a string is not closed" if re.search(r'["`]', bare) else ""
