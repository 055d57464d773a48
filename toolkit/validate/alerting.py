"""Checks of Alertmanager's configuration: receivers, routes and secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.source import Key

FILE, LOKI = "monitoring/alertmanager/alertmanager.yml", "monitoring/loki/loki.yml"
EXTERNAL_URL = "--web.external-url="
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
    for number, name in enumerate(named):
        problem = "" if name in used else f"no route leads to the receiver {name}"
        yield source.finding("receivers", number, "name", problem=problem)


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
