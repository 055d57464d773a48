"""Check for unused networks and volumes."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.source import items


def networks(checkout: Checkout) -> Iterator[Finding]:
    """Every declared network has a service, and no service is on the default network."""
    joined: set[str] = set()
    for each in checkout.full_configurations:
        for name, service in each.services.items():
            names = set(service.get("networks", {}))
            joined |= names
            problem = f"{name} has no networks and joins the default network" if names <= {"default"} else ""
            yield checkout.place(each.files, "services", name, "networks", problem=problem)
    yield from _unused(checkout, "networks", joined)


def volumes(checkout: Checkout) -> Iterator[Finding]:
    """Every declared volume is mounted by a service."""
    mounted = {
        mount["source"]
        for each in checkout.full_configurations
        for service in each.services.values()
        for mount in service.get("volumes", [])
        if mount["type"] == "volume" and mount.get("source")
    }
    yield from _unused(checkout, "volumes", mounted)


def _unused(checkout: Checkout, kind: str, used: set[str]) -> Iterator[Finding]:
    """One finding for every declaration of ``kind`` in any layer."""
    for source in checkout.layers:
        for name, _ in items(source.node_at(kind)):
            problem = "" if name.value in used else f"no service uses {name.value} ({kind})"
            yield source.at(name, problem)
