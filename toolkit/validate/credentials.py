"""Passwords: one source each, and in production none where `docker inspect` shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.source import elements, items

SECRETS_LAYER = "docker-compose.secrets.yml"
IN_URL = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
# Grafana reads the file that its setting names.
FROM_FILE = re.compile(r"^\$+__file\{/run/secrets/\w+\}$")
NAMED = re.compile(r"(PASSWORD|PASSWD|SECRET|TOKEN|API_KEY)$")


def declared(checkout: Checkout) -> Iterator[Finding]:
    """The secrets layer and invoke.yaml name the same secrets, each used by a service and filled from secrets/."""
    manifest, layer = checkout.source("invoke.yaml"), checkout.source(SECRETS_LAYER)
    secrets = {name.value for name, _ in items(layer.node_at("secrets"))}
    used = {
        secret.value
        for source in checkout.layers
        for name, _ in items(source.node_at("services"))
        for secret in elements(source.node_at("services", name.value, "secrets"))
    }
    for name in sorted(secrets):
        node = layer.node_at("secrets", name, "file")
        problem = ""
        if name not in checkout.project.secrets:
            problem = f"{name} is missing among the secrets of invoke.yaml"
        elif node is None or node.value != f"./secrets/{name}.txt":
            problem = f"{name} is not read from ./secrets/{name}.txt"
        elif name not in used:
            problem = f"no service uses {name}"
        yield layer.finding("secrets", name, problem=problem)
    for name, variable in checkout.project.secrets.items():
        problem = "" if name in secrets else f"{SECRETS_LAYER} has no secret {name}"
        if not problem and variable not in checkout.variables:
            problem = f"no compose file uses {variable}"
        yield manifest.finding("stack", "secrets", name, problem=problem)


def hidden(checkout: Checkout) -> Iterator[Finding]:
    """Where the secrets layer is used, no password is in the effective configuration."""
    passwords = {checkout.credential(variable) for variable in checkout.project.secrets.values()}
    for each in checkout.whole:
        if SECRETS_LAYER not in each.files:
            continue
        for name, service in each.services.items():
            yield checkout.place(each.files, "services", name)
            for path, value in _texts(service):
                if any(password in value for password in passwords) or IN_URL.search(value):
                    problem = f"{name} shows a password in {'.'.join(map(str, path))}"
                elif path[0] == "environment" and NAMED.search(str(path[-1])) and value and not FROM_FILE.match(value):
                    problem = f"{name} has a password in its environment: {path[-1]}"
                else:
                    continue
                yield checkout.place(each.files, "services", name, *path, problem=problem)


def _texts(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every text below a value with the keys that lead to it."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _texts(each, (*path, key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _texts(each, (*path, number))
    elif value is not None:
        yield path, value if isinstance(value, str) else json.dumps(value)
