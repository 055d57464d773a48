"""Checks of environment variables: of the containers, and of .env."""

from __future__ import annotations

import re
from collections.abc import Iterator

from yaml.nodes import MappingNode

from toolkit.checkout.variables import SETUP_VARIABLES, TASK_VARIABLES, variables_used
from toolkit.validate.checkout import VARIABLE, Checkout
from toolkit.validate.findings import BrokenFileError, Finding
from toolkit.validate.source import items

EXAMPLE = ".env.example"


def mappings(checkout: Checkout) -> Iterator[Finding]:
    """Every `environment:` is a mapping: `!reset` has no effect on an entry of a list, without any warning."""
    for source in checkout.layers:
        for name, _ in items(source.node_at("services")):
            node = source.node_at("services", name.value, "environment")
            if node is not None:
                fine = isinstance(node, MappingNode)
                yield source.finding(
                    "services",
                    name.value,
                    "environment",
                    problem="" if fine else f"the environment of {name.value} is not a mapping",
                )


def proxies(checkout: Checkout) -> Iterator[Finding]:
    """No request between containers goes to a proxy that Docker passes to them from its client's configuration."""
    for each in checkout.full_configurations:
        for name, service in each.services.items():
            variables = service.get("environment") or {}
            for variable in ("NO_PROXY", "no_proxy"):
                problem = "" if variables.get(variable) else f"{name} lacks {variable}: add <<: *no-proxy"
                yield checkout.place(each.files, "services", name, "environment", problem=problem)
            test = (service.get("healthcheck") or {}).get("test") or ()
            uses = "wget" in test and "-Y" not in test
            problem = f"the health check of {name} uses a proxy: wget needs -Y off" if uses else ""
            yield checkout.place(each.files, "services", name, "healthcheck", "test", problem=problem)


def messages(checkout: Checkout) -> Iterator[Finding]:
    """Every required variable has an error message with its fix."""
    for source in checkout.layers:
        for scalar in source.scalars():
            for name, operator, text in VARIABLE.findall(scalar.value):
                if "?" in operator:
                    yield source.at(scalar, "" if text else f"${{{name}{operator}}} has no error message")


def example(checkout: Checkout) -> Iterator[Finding]:
    """.env.example names exactly the variables that the compose files use, with their defaults."""
    path = checkout.root / EXAMPLE
    if not path.is_file():
        raise BrokenFileError(Finding(EXAMPLE, 1, "does not exist"))
    named: set[str] = set()
    defaults = variables_used(checkout.project)
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if match := re.match(r"#?([A-Za-z_][A-Za-z0-9_]*)=(.*)", line):
            name, problem = match[1], ""
            default = defaults.get(name)
            if name in named:
                problem = f"duplicate {name}"
            elif name not in (*checkout.variables, *SETUP_VARIABLES, *TASK_VARIABLES):
                problem = f"no compose file uses {name}"
            elif default and match[2] != default:
                problem = f"{name} is {match[2]}, but the default is {default}"
            named.add(name)
            yield Finding(EXAMPLE, number, problem)
    for source in checkout.layers:
        for scalar in source.scalars():
            for name in set(checkout.variables) & set(re.findall(r"\w+", scalar.value)):
                yield source.at(scalar, "" if name in named else f"{name} is missing from {EXAMPLE}")
