"""Checks of the dashboards' queries: syntax, variables, and the metrics of this repository."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set

from toolkit.checkout import dashboards, expectations
from toolkit.checkout.dashboards import Keys, Model
from toolkit.core.promql import constant_defaults, metrics_in, partial_sums
from toolkit.validate.alerts import LOG_RULES, rules
from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.grafana import PROVISIONED, RULES, dashboard_files, datasources, targets, tracked, values

# Folders of the programs of this repository that expose metrics, by prefix.
OWN_METRICS = {
    "netmon_backup_": "backup/netmon_backup/",
    "netmon_": "app/netmon/",
    "http_": "app/netmon/",
    "container_": "monitoring/container-exporter/",
}
# Suffixes that a client library adds to the name in the program.
SUFFIXES = re.compile(r"_(?:bucket|sum|count|total|info)$")
NUMBER = re.compile(r"\d")
STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`')
SELECTOR = re.compile(r"""\{\s*\w+\s*(?:=~?|!=|!~)\s*["`]""")
MATCHER = r"""\s*\w+\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*"|`[^`]*`)\s*"""
STREAMS = re.compile(rf"\{{(?:{MATCHER},?)+\}}")
CONSTANT = re.compile(r"\bor\s+vector\(")
"""A constant default in LogQL."""
TRACE_ID = "trace_id"
"""The label of exemplars, and the structured metadata of log lines, with the id of their trace."""
CLOSING = {")": "(", "]": "[", "}": "{"}


def syntax(checkout: Checkout) -> Iterator[Finding]:
    """Every query parses: PromQL completely, LogQL and TraceQL by their selectors and brackets."""
    for dashboard in dashboard_files(checkout).values():
        for keys, target in targets(dashboard.model):
            yield dashboard.at(*keys, _text_key(target), problem=_problem(target, dashboard.model))
    for rule in rules(checkout, LOG_RULES):
        yield rule.at("expr", problem=_logql_problem(rule.data["expr"]))


def links(checkout: Checkout) -> Iterator[Finding]:
    """Links between data sources find the trace by its id, and their queries read labels and metrics that panels read.

    Grafana alone follows these links; `invoke observe.check` requests the panels.
    """
    shown = {
        name
        for dashboard in dashboard_files(checkout).values()
        for _, target in targets(dashboard.model)
        if target["datasource"]["type"] == "prometheus"
        for name in _metrics_of(target, dashboard.model)
    }
    for source, number, each in datasources(checkout, PROVISIONED):
        options = each.get("jsonData", {})
        for section, key in (("exemplarTraceIdDestinations", "name"), ("derivedFields", "matcherRegex")):
            for index, field in enumerate(options.get(section, [])):
                problem = (
                    "" if field.get(key) == TRACE_ID else f"the trace is not found by {field.get(key)}: {TRACE_ID}"
                )
                yield source.finding("datasources", number, "jsonData", section, index, key, problem=problem)
        for index, query in enumerate(options.get("tracesToMetrics", {}).get("queries", [])):
            problem = _unknown_metric(_of_a_span(query["query"]), shown)
            keys = ("jsonData", "tracesToMetrics", "queries", index, "query")
            yield source.finding("datasources", number, *keys, problem=problem)
        if logs := options.get("tracesToLogsV2"):
            text = _of_a_span(logs["query"])
            problem = _logql_problem(text) or ("" if f'{TRACE_ID}="x"' in text else f"no matcher of {TRACE_ID}")
            yield source.finding("datasources", number, "jsonData", "tracesToLogsV2", "query", problem=problem)


def _of_a_span(query: str) -> str:
    """A query with the values of a span, for Grafana's variables; dollar signs are doubled in its files."""
    text = query.replace("$$", "$").replace("$__tags", 'service_name="app"')
    return re.sub(r"\$\{__(?:span|trace)\.\w+\}", "x", text)


def _unknown_metric(expr: str, known: Set[str]) -> str:
    """The first metric of a query that is unknown; empty if there is none."""
    try:
        unknown = sorted(metrics_in(expr) - known)
    except ValueError as error:
        return f"not PromQL: {error}"
    return f"no panel reads {unknown[0]}" if unknown else ""


def variables(checkout: Checkout) -> Iterator[Finding]:
    """Every variable in a query, a link or a title is defined by the dashboard."""
    for dashboard in dashboard_files(checkout).values():
        known = {variable["name"] for variable in dashboards.variables(dashboard.model)}
        for keys, text in _texts(dashboard.model):
            unknown = sorted(dashboards.variables_in(text) - known)
            yield dashboard.at(*keys, problem=f"unknown variable {unknown[0]}" if unknown else "")


def metrics(checkout: Checkout) -> Iterator[Finding]:
    """Metrics with a prefix of this repository are recorded or exposed by it; others are checked live."""
    recorded = {
        rule["record"]
        for file in tracked(checkout, RULES, ".yml")
        for group in checkout.source(file).data.get("groups") or []
        for rule in group["rules"]
        if "record" in rule
    }
    programs = {prefix: _string_literals(checkout, folder) for prefix, folder in OWN_METRICS.items()}
    for dashboard in dashboard_files(checkout).values():
        for keys, target in targets(dashboard.model):
            if target["datasource"]["type"] != "prometheus":
                continue
            for name in sorted(_metrics_of(target, dashboard.model)):
                program = next((text for prefix, text in programs.items() if name.startswith(prefix)), None)
                problem = ""
                if ":" in name:
                    problem = "" if name in recorded else f"no rule records {name}"
                elif program is not None and not {f'"{name}"', f'"{SUFFIXES.sub("", name)}"'} & program:
                    problem = f"no program of this repository exposes {name}"
                yield dashboard.at(*keys, _text_key(target), problem=problem)


def sums(checkout: Checkout) -> Iterator[Finding]:
    """No panel adds optional metrics: one empty operand makes the sum empty."""
    absent = expectations.may_be_absent(expectations.absent_metrics(checkout.root))
    for dashboard in dashboard_files(checkout).values():
        for keys, target in targets(dashboard.model):
            if target["datasource"]["type"] != "prometheus":
                continue
            try:
                empty = partial_sums(dashboards.with_defaults(dashboards.query_text(target), dashboard.model), absent)
            except ValueError:
                continue  # syntax() reports it
            problem = (
                f'the sum is empty if {empty[0]} is: add "or 0 * …" of a series that always exists' if empty else ""
            )
            yield dashboard.at(*keys, _text_key(target), problem=problem)


def defaults(checkout: Checkout) -> Iterator[Finding]:
    """No panel shows a constant if nothing was measured, but those listed with a reason; no recorded series does."""
    source = checkout.source(str(dashboards.DEFAULTS))
    listed = {(entry.get("dashboard"), entry.get("panel")): number for number, entry in enumerate(source.data)}
    used: set[tuple[str, str]] = set()
    for dashboard in dashboard_files(checkout).values():
        for keys, panel in dashboards.panels(dashboard.model):
            fallback = str(panel.get("fieldConfig", {}).get("defaults", {}).get("noValue", ""))
            problem = f"the panel shows {fallback} if there is no data" if NUMBER.search(fallback) else ""
            yield dashboard.at(*keys, "fieldConfig", "defaults", "noValue", problem=problem)
            where = (dashboard.model["uid"], panel.get("title", ""))
            for index, target in enumerate(panel.get("targets", [])):
                constant = _constant_default(target, dashboard.model)
                if constant:
                    used.add(where)
                problem = "" if not constant or where in listed else f'"or {constant}" hides that nothing was measured'
                yield dashboard.at(*keys, "targets", index, _text_key(target), problem=problem)
    for where, number in listed.items():
        entry = source.data[number]
        unused = "" if where in used else f"no dashboard has a panel {entry.get('panel')} with such a query"
        yield source.finding(number, "panel", problem=unused)
        yield source.finding(number, "reason", problem="" if entry.get("reason") else "the reason is missing")
    for rule in rules(checkout):
        if "record" in rule.data:
            found = _constants_in(rule.data["expr"])
            yield rule.at("expr", problem=f'"or {found[0]}" hides that nothing was measured' if found else "")


def optional_metrics(checkout: Checkout) -> Iterator[Finding]:
    """Every optional metric is used by a rule or a panel, and has a reason or is in its image's contract."""
    source = checkout.source(str(expectations.FILE))
    expressions = [
        query.expr
        for each in dashboard_files(checkout).values()
        for query in dashboards.queries_of(each.model)
        if query.datasource == "prometheus"
    ]
    used = {
        name for text in (*expressions, *(rule.data["expr"] for rule in rules(checkout))) for name in _metrics_in(text)
    }

    def unused(pattern: str) -> str:
        known = any(re.fullmatch(pattern, name) for name in used)
        return "" if known else f"no rule and no panel uses {pattern}"

    for number, entry in enumerate(expectations.listed_metrics(checkout.root)):
        yield source.finding("metrics", number, "metric", problem=unused(entry.pattern))
        yield source.finding("metrics", number, "reason", problem="" if entry.reason else "the reason is missing")
    for file, pattern in expectations.exported_metrics(checkout.root).values():
        yield checkout.source(file).finding("metrics", problem=unused(pattern))


def empty_panels(checkout: Checkout) -> Iterator[Finding]:
    """Every panel that may be empty exists, and has a reason and a known service."""
    source = checkout.source(str(dashboards.EMPTY_BY_DESIGN))
    queries = [query for each in dashboard_files(checkout).values() for query in dashboards.queries_of(each.model)]
    services = {name for each in checkout.full_configurations for name in each.services}
    for number, entry in enumerate(source.data):
        exception = dashboards.EmptyPanel(**{"panel": "", "reason": "", **entry})
        known = any(exception.covers(query, services) for query in queries)
        unknown = exception.needs and exception.needs not in services
        problems = {
            "needs": f"unknown service {exception.needs}" if unknown else "",
            "panel": "" if known or unknown else f"no dashboard has a panel {exception.panel} with such a query",
            "reason": "" if exception.reason else "the reason is missing",
        }
        for key, problem in problems.items():
            yield source.finding(number, key, problem=problem)


def _string_literals(checkout: Checkout, folder: str) -> set[str]:
    """Every string literal, with its quotation marks, in the Python files below a folder."""
    files = tracked(checkout, folder, ".py")
    return {text for file in files for text in STRINGS.findall((checkout.root / file).read_text(encoding="utf-8"))}


def _metrics_of(target: Model, model: Model) -> set[str]:
    """The metrics of a query."""
    return _metrics_in(dashboards.with_defaults(dashboards.query_text(target), model))


def _metrics_in(expr: str) -> set[str]:
    """The metrics of an expression; empty if it does not parse, which `syntax` reports."""
    try:
        return metrics_in(expr)
    except ValueError:
        return set()


def _constant_default(target: Model, model: Model) -> str:
    """The constant default of a query; empty if it has none."""
    text = dashboards.with_defaults(dashboards.query_text(target), model)
    if target["datasource"]["type"] == "prometheus":
        return next(iter(_constants_in(text)), "")
    return "vector" if CONSTANT.search(STRINGS.sub("", text)) else ""


def _constants_in(expr: str) -> list[str]:
    """The constant defaults of an expression; empty if it does not parse, which `syntax` reports."""
    try:
        return constant_defaults(expr)
    except ValueError:
        return []


def _texts(model: Model) -> Iterator[tuple[Keys, str]]:
    """Every string in which Grafana replaces variables."""
    for name in ("expr", "query", "url", "title"):
        for keys, value in values(model, name):
            if isinstance(value, str):
                yield keys, value


def _text_key(target: Model) -> str:
    return "expr" if "expr" in target else "query"


def _problem(target: Model, model: Model) -> str:
    """Why a query is invalid; empty if it is valid or consists of options only."""
    text = dashboards.with_defaults(dashboards.query_text(target), model)
    match target["datasource"]["type"]:
        case "prometheus":
            try:
                metrics_in(text)
            except ValueError as error:
                return f"not PromQL: {error}"
        case "loki":
            return _logql_problem(text)
        case "tempo" if text:
            return _unbalanced(text) or ("" if text.startswith("{") else "TraceQL without a span selector")
    return ""


def _logql_problem(text: str) -> str:
    """Why Loki rejects a query, as far as brackets and selectors show; empty if it does not."""
    if problem := _unbalanced(text):
        return problem
    if not SELECTOR.search(text):
        return "LogQL without a stream selector"
    for selector in STREAMS.finditer(text):
        # Matchers that a stream without the label meets, too, would select every stream.
        if not any(_requires_label(operator, value[1:-1]) for operator, value in re.findall(MATCHER, selector[0])):
            return f'no matcher of {selector[0]} requires a label: add one such as service_name=~".+"'
    return ""


def _requires_label(operator: str, value: str) -> bool:
    """Whether a matcher excludes streams without its label."""
    return bool(value) and (operator == "=" or (operator == "=~" and re.fullmatch(value, "") is None))


def _unbalanced(text: str) -> str:
    """The unbalanced bracket or string of a query; empty if none."""
    bare = STRINGS.sub("", text)
    pending: list[str] = []
    for character in bare:
        if character in CLOSING.values():
            pending.append(character)
        elif character in CLOSING and (not pending or pending.pop() != CLOSING[character]):
            return f"unbalanced {character}"
    if pending:
        return f"unclosed {pending[-1]}"
    return "unclosed string" if re.search(r'["`]', bare) else ""
