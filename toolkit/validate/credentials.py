"""Checks of credentials: one source each, mounted only where used, and hidden from `docker inspect` in production."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from toolkit.validate.checkout import VARIABLE, Checkout, Configuration
from toolkit.validate.findings import Finding
from toolkit.validate.source import elements, items

IN_URL = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
# Grafana reads the named file.
FROM_FILE = re.compile(r"^\$+__file\{/run/secrets/\w+\}$")
NAMED = re.compile(r"(PASSWORD|PASSWD|SECRET|TOKEN|API_KEY)$")
MOUNTED = re.compile(r"/run/secrets/(\w+)")


def definitions(checkout: Checkout) -> Iterator[Finding]:
    """The secrets layer and invoke.yaml name the same secrets; each is used by a service and read from secrets/."""
    manifest, layer = checkout.source("invoke.yaml"), checkout.source(checkout.secrets_layer)
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
            problem = f"{name} is missing from the secrets of invoke.yaml"
        elif node is None or node.value != f"./secrets/{name}.txt":
            problem = f"{name} is not read from ./secrets/{name}.txt"
        elif name not in used:
            problem = f"no service uses {name}"
        yield layer.finding("secrets", name, problem=problem)
    for name in checkout.project.secrets:
        problem = "" if name in secrets else f"{checkout.secrets_layer} has no secret {name}"
        yield manifest.finding("stack", "secrets", name, problem=problem)


def accounts(checkout: Checkout) -> Iterator[Finding]:
    """A secret of invoke.yaml is a token, the password of a service's user, or the name of such a user."""
    manifest, secrets = checkout.source("invoke.yaml"), checkout.project.secrets
    services = {name.value for source in checkout.layers for name, _ in items(source.node_at("services"))}
    named = {secret.user_file for secret in secrets.values()}
    for secret in secrets.values():
        problem = ""
        if secret.users:
            problem = "" if secret.name in named else f"no secret has {secret.name} as its user_file"
        elif secret.service not in services:
            problem = f"{secret.name} has the unknown service {secret.service}"
        elif [bool(secret.user), bool(secret.user_file), secret.token].count(True) != 1:
            problem = f"{secret.name} must have a user or a user_file, or be a token"
        elif secret.user_file and not (secret.user_file in secrets and secrets[secret.user_file].users):
            problem = f"{secret.user_file}, the user_file of {secret.name}, has no users"
        yield manifest.finding("stack", "secrets", secret.name, problem=problem)


def required_variables(checkout: Checkout) -> Iterator[Finding]:
    """Every variable that the compose files require is written by `invoke setup`: a secret of invoke.yaml."""
    supplied = {secret.variable for secret in checkout.project.secrets.values()}
    for source in checkout.layers:
        for scalar in source.scalars():
            for name, operator, _ in VARIABLE.findall(scalar.value):
                if "?" in operator:
                    problem = "" if name in supplied else f"invoke.yaml has no secret {name.lower()}"
                    yield source.at(scalar, problem)


def mounts(checkout: Checkout) -> Iterator[Finding]:
    """With the secrets layer, a service mounts exactly the secrets whose files it reads."""
    for each, name, service in _services_with_secrets(checkout):
        read = {secret for path, value in _texts(service) if path[0] != "secrets" for secret in MOUNTED.findall(value)}
        given = {secret["source"] for secret in service.get("secrets", [])}
        problem = ""
        if unused := sorted(given - read):
            problem = f"{name} mounts {', '.join(unused)}, but does not use it"
        elif missing := sorted(read - given):
            problem = f"{name} uses {', '.join(missing)}, but does not mount it"
        yield checkout.place(each.files, "services", name, "secrets", problem=problem)


def exposure(checkout: Checkout) -> Iterator[Finding]:
    """With the secrets layer, the effective configuration contains no password."""
    passwords = {checkout.placeholder(secret.variable) for secret in checkout.project.secrets.values()}
    for each, name, service in _services_with_secrets(checkout):
        yield checkout.place(each.files, "services", name)
        for path, value in _texts(service):
            if any(password in value for password in passwords) or IN_URL.search(value):
                problem = f"{name} shows a password in {'.'.join(map(str, path))}"
            elif path[0] == "environment" and NAMED.search(str(path[-1])) and value and not FROM_FILE.match(value):
                problem = f"{name} has a password in its environment: {path[-1]}"
            else:
                continue
            yield checkout.place(each.files, "services", name, *path, problem=problem)


def _services_with_secrets(checkout: Checkout) -> Iterator[tuple[Configuration, str, dict[str, Any]]]:
    """The services of every configuration with the secrets layer."""
    for each in checkout.full_configurations:
        if checkout.secrets_layer in each.files:
            for name, service in each.services.items():
                yield each, name, service


def _texts(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every string below a value with its path of keys."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _texts(each, (*path, key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _texts(each, (*path, number))
    elif value is not None:
        yield path, value if isinstance(value, str) else json.dumps(value)
