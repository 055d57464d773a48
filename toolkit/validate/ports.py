"""Who is reached from the host: nobody but what the development layer publishes, on an address that can be chosen."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.source import elements, items

DEVELOPMENT_LAYER = "docker-compose.dev.yml"
PUBLISHED = re.compile(r"^\$\{BIND_ADDRESS:-127\.0\.0\.1\}:\$\{(?P<variable>[A-Z0-9_]+_PORT):-(?P<port>\d+)\}:\d+$")


def published(checkout: Checkout) -> Iterator[Finding]:
    """Ports are published by the development layer alone, as ${BIND_ADDRESS:-127.0.0.1}:${X_PORT:-n}:n."""
    for source in checkout.layers:
        for name, _ in items(source.node_at("services")):
            ports = source.node_at("services", name.value, "ports")
            if ports is None:
                yield source.finding("services", name.value)
            elif source.file != DEVELOPMENT_LAYER:
                yield source.finding(
                    "services", name.value, "ports", problem=f"only {DEVELOPMENT_LAYER} may publish a port"
                )
            else:
                for port in elements(ports):
                    fine = isinstance(port.value, str) and PUBLISHED.match(port.value)
                    wanted = "a port is published as ${BIND_ADDRESS:-127.0.0.1}:${X_PORT:-n}:n"
                    yield source.at(port, "" if fine else f"{name.value}: {wanted}")


def addresses(checkout: Checkout) -> Iterator[Finding]:
    """invoke.yaml and the development layer name the same ports; no two services take the same one."""
    manifest, layer = checkout.source("invoke.yaml"), checkout.source(DEVELOPMENT_LAYER)
    owners: defaultdict[str, set[str]] = defaultdict(set)
    offered: set[tuple[str, str]] = set()
    for name, _ in items(layer.node_at("services")):
        ports = layer.node_at("services", name.value, "ports")
        for port in elements(ports):
            if isinstance(port.value, str) and (match := PUBLISHED.match(port.value)):
                owners[match["port"]].add(name.value)
                offered.add((match["variable"], match["port"]))
                taken = sorted(owners[match["port"]] - {name.value})
                yield layer.at(port, f"{name.value}: port {match['port']} is taken by {taken[0]}" if taken else "")
    for address in checkout.project.addresses:
        known = (address.variable, str(address.default)) in offered
        problem = f"{DEVELOPMENT_LAYER} publishes no ${{{address.variable}:-{address.default}}}"
        yield manifest.finding("stack", "addresses", address.service, problem="" if known else problem)
    listed = {(address.variable, str(address.default)) for address in checkout.project.addresses}
    for variable, default in offered - listed:
        yield manifest.finding("stack", "addresses", problem=f"{variable} (default {default}) is missing here")
