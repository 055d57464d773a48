"""Checks of published ports: layers, services, addresses."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from yaml.nodes import Node

from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.source import elements, items

PROXY = "proxy"
"""The only service that may be published on any address."""
LOOPBACK = "BIND_ADDRESS"
"""The variable of an address that must be a loopback address, see `toolkit.checkout.setup`."""


def published(checkout: Checkout) -> Iterator[Finding]:
    """Only two layers publish ports, production's layer only the proxy's, at configurable addresses and ports."""
    addresses = _addresses(checkout)
    for source in checkout.layers:
        for name, _ in items(source.node_at("services")):
            ports = source.node_at("services", name.value, "ports")
            if ports is None:
                yield source.finding("services", name.value)
            elif source.file not in addresses:
                problem = f"only {' and '.join(addresses)} may publish a port"
                yield source.finding("services", name.value, "ports", problem=problem)
            elif addresses[source.file] != LOOPBACK and name.value != PROXY:
                problem = f"in production only {PROXY} may publish a port"
                yield source.finding("services", name.value, "ports", problem=problem)
            else:
                for port in elements(ports):
                    variable = addresses[source.file]
                    form = f"a port must be published as ${{{variable}:-127.0.0.1}}:${{X_PORT:-n}}:n"
                    yield source.at(port, "" if _port(variable, port) else f"{name.value}: {form}")


def addresses(checkout: Checkout) -> Iterator[Finding]:
    """invoke.yaml names exactly the published services, and no two services use the same port."""
    manifest = checkout.source("invoke.yaml")
    owners: defaultdict[str, set[str]] = defaultdict(set)
    for file, variable in _addresses(checkout).items():
        layer = checkout.source(file)
        for name, _ in items(layer.node_at("services")):
            for port in elements(layer.node_at("services", name.value, "ports")):
                if number := _port(variable, port):
                    owners[number].add(name.value)
                    taken = sorted(owners[number] - {name.value})
                    yield layer.at(port, f"{name.value}: port {number} is already used by {taken[0]}" if taken else "")
    published = {name for names in owners.values() for name in names}
    for service in checkout.project.addresses:
        problem = "" if service in published else f"no layer publishes {service}"
        yield manifest.finding("stack", "addresses", service, problem=problem)
    for service in sorted(published - checkout.project.addresses.keys()):
        yield manifest.finding("stack", "addresses", problem=f"{service} is published, but missing here")


def _addresses(checkout: Checkout) -> Mapping[str, str]:
    """The layers that publish ports, each with the variable of its address."""
    variables: Mapping[str, str] = checkout.project.data["publishing_layers"]
    return variables


def _port(variable: str, port: Node) -> str:
    """The default of a port published on the address of ``variable``; empty for another form."""
    form = rf"\$\{{{variable}:-127\.0\.0\.1\}}:\$\{{[A-Z0-9_]+_PORT:-(?P<port>\d+)\}}:\d+(/udp)?"
    match = re.fullmatch(form, port.value) if isinstance(port.value, str) else None
    return match["port"] if match else ""
