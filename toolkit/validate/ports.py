"""Who is reached from outside: in development what its layer publishes, in production the proxy; each at a choice."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from yaml.nodes import Node

from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.source import Source, elements, items

DEVELOPMENT_LAYER, PRODUCTION_LAYER = "docker-compose.dev.yml", "docker-compose.prod.yml"
PROXY = "proxy"
"""The only service that production publishes."""
ADDRESSES = {DEVELOPMENT_LAYER: "BIND_ADDRESS", PRODUCTION_LAYER: "PROXY_BIND_ADDRESS"}
"""The variable that names the address of each layer's ports; by default the loopback interface."""


def published(checkout: Checkout) -> Iterator[Finding]:
    """Ports are published by two layers alone, production's for the proxy alone, at addresses that can be chosen."""
    for source in checkout.layers:
        for name, _ in items(source.node_at("services")):
            ports = source.node_at("services", name.value, "ports")
            if ports is None:
                yield source.finding("services", name.value)
            elif source.file not in ADDRESSES:
                problem = f"only {' and '.join(ADDRESSES)} may publish a port"
                yield source.finding("services", name.value, "ports", problem=problem)
            elif source.file == PRODUCTION_LAYER and name.value != PROXY:
                problem = f"in production only {PROXY} may publish a port"
                yield source.finding("services", name.value, "ports", problem=problem)
            else:
                for port in elements(ports):
                    wanted = f"a port is published as ${{{ADDRESSES[source.file]}:-127.0.0.1}}:${{X_PORT:-n}}:n"
                    yield source.at(port, "" if _parts(source, port) else f"{name.value}: {wanted}")


def addresses(checkout: Checkout) -> Iterator[Finding]:
    """invoke.yaml names a port of every service that is published; no two services take the same one."""
    manifest = checkout.source("invoke.yaml")
    owners: defaultdict[str, set[str]] = defaultdict(set)
    offered: dict[tuple[str, str], str] = {}
    for layer in map(checkout.source, ADDRESSES):
        for name, _ in items(layer.node_at("services")):
            for port in elements(layer.node_at("services", name.value, "ports")):
                if match := _parts(layer, port):
                    owners[match["port"]].add(name.value)
                    offered[match["variable"], match["port"]] = name.value
                    taken = sorted(owners[match["port"]] - {name.value})
                    yield layer.at(port, f"{name.value}: port {match['port']} is taken by {taken[0]}" if taken else "")
    for address in checkout.project.addresses:
        known = offered.get((address.variable, str(address.default))) == address.service
        problem = f"no layer publishes {address.service} at ${{{address.variable}:-{address.default}}}"
        yield manifest.finding("stack", "addresses", address.service, problem="" if known else problem)
    listed = {address.service for address in checkout.project.addresses}
    for service in sorted(set(offered.values()) - listed):
        yield manifest.finding("stack", "addresses", problem=f"{service} is published, and missing here")


def _parts(source: Source, port: Node) -> re.Match[str] | None:
    """The variable and the default of a port that has its layer's form; None for another one."""
    address = rf"\$\{{{ADDRESSES[source.file]}:-127\.0\.0\.1\}}"
    form = rf"{address}:\$\{{(?P<variable>[A-Z0-9_]+_PORT):-(?P<port>\d+)\}}:\d+(/udp)?"
    return re.fullmatch(form, port.value) if isinstance(port.value, str) else None
