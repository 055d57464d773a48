"""Checks of Alertmanager's configuration: receivers, routes and secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

from toolkit.core.durations import seconds
from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.scrapes import PROMETHEUS
from toolkit.validate.source import Key

DOCUMENT = "docs/alerting.md"
FILE, LOKI = "monitoring/alertmanager/alertmanager.yml", "monitoring/loki/loki.yml"
EXTERNAL_URL = "--web.external-url="
FOLDER, MOUNTED = "monitoring/alertmanager/", "/etc/alertmanager"
TEMPLATES = f"{FOLDER}templates/"
GROUPED_BY = ["alertname", "service"]
PENDING_SECONDS, EVALUATION_SECONDS = 3.0, 1.0
"""The shortest `for` of an alert that a service is down, and the interval of its evaluation."""
NOTIFIED_SECONDS = 10.0
"""A service that is down is notified within this time."""
INTERVAL = re.compile(r"^\| `(critical|warning|none)` \|[^|]*\| (\d+ \w+) \|", re.MULTILINE)
"""A severity in the document, and how often its alerts are repeated."""
SILENT_WHEN_RESOLVED = {"email_configs", "slack_configs"}
"""The integrations that send no resolved alerts by default."""
SWITCH = "deadmansswitch"
ROUTED = "notify"
LABELS = {"grafana": "${GRAFANA_URL}", "runbooks": "${RUNBOOKS_URL}", ROUTED: "${ALERT_RECEIVERS}"}
"""External labels of alerts: the addresses of links in annotations, and the channels, which routes match."""
SECRET = re.compile(r"(password|secret|token|credentials|api_key|_key|slack_api_url|webhook_url)$")


def receivers(checkout: Checkout) -> Iterator[Finding]:
    """The default receiver sends nothing; every other receiver has a route."""
    source = checkout.source(FILE)
    named = {receiver["name"]: receiver for receiver in source.data["receivers"]}
    default = source.data["route"]["receiver"]
    sends = [key for key in named.get(default, {}) if key.endswith("_configs")]
    problem = f"the default receiver {default} sends notifications: {sends[0]}" if sends else ""
    yield source.finding("route", "receiver", problem=problem)
    used = {route.get("receiver") for _, route in _routes(source.data["route"])}
    for number, (name, receiver) in enumerate(named.items()):
        problem = "" if name in used else f"no route leads to the receiver {name}"
        yield source.finding("receivers", number, "name", problem=problem)
        for kind in filter(lambda key: key.endswith("_configs"), receiver):
            for index, config in enumerate(receiver[kind]):
                resolved = config.get("send_resolved", kind not in SILENT_WHEN_RESOLVED)
                wrong = "sends resolved alerts" if resolved else "sends no resolved alerts"
                problem = f"{name} {wrong}" if resolved is (name == SWITCH) else ""
                yield source.finding("receivers", number, kind, index, "send_resolved", problem=problem)


def templates(checkout: Checkout) -> Iterator[Finding]:
    """Alertmanager loads every template: a pattern that matches no file is no error, but every notification fails."""
    patterns = checkout.source(FILE).data.get("templates", [])
    for file in sorted(checkout.tracked):
        if file.startswith(TEMPLATES):
            known = any(PurePath(MOUNTED, file.removeprefix(FOLDER)).match(each) for each in patterns)
            yield Finding(file, 1, "" if known else f"no pattern of {FILE} loads this template")


def timing(checkout: Checkout) -> Iterator[Finding]:
    """Alerts are grouped by alert and service, sent in time, and repeated as the document promises."""
    source = checkout.source(FILE)
    scrape = seconds(checkout.source(PROMETHEUS).data["global"]["scrape_interval"])
    noticed = scrape + PENDING_SECONDS + EVALUATION_SECONDS
    promised = dict(INTERVAL.findall((checkout.root / DOCUMENT).read_text(encoding="utf-8")))
    inherited: dict[tuple[Key, ...], Mapping[str, Any]] = {(): {}}
    for keys, route in _routes(source.data["route"]):
        above = inherited[keys[:-2]] if keys else {}
        matchers = [*above.get("matchers", ()), *route.get("matchers", ())]
        given = inherited[keys] = {**above, **route, "matchers": matchers}
        if "receiver" not in route or not keys:
            continue
        severity = _severity(given["matchers"])
        limits = {
            "group_by": given["group_by"] == GROUPED_BY,
            "group_wait": seconds(given["group_wait"]) <= NOTIFIED_SECONDS - noticed,
            "group_interval": severity == "none" or seconds(given["group_interval"]) <= NOTIFIED_SECONDS / 2,
            # Alertmanager repeats at the first group interval after it.
            "repeat_interval": _repeated(given) == seconds(promised[severity].replace(" ", "").replace("min", "m")),
        }
        for key, fine in limits.items():
            problem = "" if fine else f"{key} of {route['receiver']} ({severity}) is {given[key]}, unlike {DOCUMENT}"
            yield source.finding("route", *keys, key, problem=problem)


def _severity(matchers: Sequence[str]) -> str:
    """The severity of the alerts that reach a route."""
    if any("Watchdog" in each for each in matchers):
        return "none"
    return "critical" if any("critical" in each for each in matchers) else "warning"


def _repeated(route: Mapping[str, Any]) -> float:
    """Seconds after which a route repeats a notification: at the first group interval after its own."""
    interval = seconds(route["group_interval"])
    return interval * -(-seconds(route["repeat_interval"]) // interval)


def labels(checkout: Checkout) -> Iterator[Finding]:
    """The labels for links and routes are set, and those for links alone are dropped before an alert is sent."""
    for file, section, sending in ((PROMETHEUS, "global", "alerting"), (LOKI, "ruler", "ruler")):
        source = checkout.source(file)
        given = source.data[section].get("external_labels", {})
        relabel = source.data[sending].get("alert_relabel_configs", [])
        dropped = "|".join(f"(?:{each['regex']})" for each in relabel if each.get("action") == "labeldrop") or "(?!)"
        for name, variable in LABELS.items():
            problem = "" if given.get(name) == variable else f"the label {name} is not {variable}"
            yield source.finding(section, "external_labels", name, problem=problem)
            wrong = (re.fullmatch(dropped, name) is None) is (name != ROUTED)
            what = "is dropped: no channel gets an alert" if name == ROUTED else "is sent, but is for links only"
            yield source.finding(sending, "alert_relabel_configs", problem=f"the label {name} {what}" if wrong else "")


def addresses(checkout: Checkout) -> Iterator[Finding]:
    """Prometheus, Alertmanager and Loki know their external addresses, else their links name a container."""
    for each in checkout.full_configurations:
        for name in ("prometheus", "alertmanager"):
            service = each.services.get(name)
            if service:
                flags = [word for word in service["command"] if word.startswith(EXTERNAL_URL)]
                absolute = flags and re.match(r"https?://\w", flags[0].removeprefix(EXTERNAL_URL))
                problem = "" if absolute else f"{name} has no absolute {EXTERNAL_URL}…"
                yield checkout.place(each.files, "services", name, "command", problem=problem)
    source = checkout.source(LOKI)
    url = (source.data.get("ruler") or {}).get("external_url")
    problem = "" if url == "${GRAFANA_URL}" else "the external_url is not ${GRAFANA_URL}: relative source links"
    yield source.finding("ruler", "external_url", problem=problem)


def routes(checkout: Checkout) -> Iterator[Finding]:
    """No route hides its siblings: all but the last of the routes that choose a channel have `continue`."""
    source = checkout.source(FILE)
    for keys, route in _routes(source.data["route"]):
        children: Sequence[Mapping[str, Any]] = route.get("routes", [])
        if not children or not all("receiver" in child for child in children):
            continue
        for number, child in enumerate(children):
            swallows = number < len(children) - 1 and not child.get("continue")
            problem = (
                f"the route to {child['receiver']} stops alerts before later routes: set continue: true"
                if swallows
                else ""
            )
            yield source.finding("route", *keys, "routes", number, problem=problem)


def secrets(checkout: Checkout) -> Iterator[Finding]:
    """Passwords, keys and secret URLs come from files; other URLs point to services of the stack."""
    source = checkout.source(FILE)
    services = {name for each in checkout.full_configurations for name in each.services}
    for keys, value in _leaves(source.data):
        key, problem = str(keys[-1]), ""
        if SECRET.search(key) or (key == "api_url" and "slack_configs" in keys):
            problem = f"{key} is a secret: use {key}_file"
        elif key == "url" and "{{" not in str(value) and urlsplit(str(value)).hostname not in services:
            problem = "the host of the URL is not a service of the stack: use url_file"
        yield source.finding(*keys, problem=problem)


def _routes(
    route: Mapping[str, Any], keys: tuple[Key, ...] = ()
) -> Iterator[tuple[tuple[Key, ...], Mapping[str, Any]]]:
    """A route and its descendants, each with its path of keys."""
    yield keys, route
    for number, child in enumerate(route.get("routes", [])):
        yield from _routes(child, (*keys, "routes", number))


def _leaves(node: Any, keys: tuple[Key, ...] = ()) -> Iterator[tuple[tuple[Key, ...], Any]]:
    """Every scalar with its path of keys."""
    match node:
        case dict():
            for key, value in node.items():
                yield from _leaves(value, (*keys, key))
        case list():
            for number, value in enumerate(node):
                yield from _leaves(value, (*keys, number))
        case _ if keys and isinstance(keys[-1], str):
            yield keys, node
