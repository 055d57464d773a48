"""Networks and volumes: what is declared is used."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.source import items


def networks(checkout: Checkout) -> Iterator[Finding]:
    """Every network that a layer declares is joined by a service, and every service names the networks it joins."""
    joined: set[str] = set()
    for each in checkout.whole:
        for name, service in each.services.items():
            names = set(service.get("networks", {}))
            joined |= names
            problem = f"{name} names no network, and so is on one that all share" if names <= {"default"} else ""
            yield checkout.place(each.files, "services", name, "networks", problem=problem)
    yield from _unused(checkout, "networks", joined)


def volumes(checkout: Checkout) -> Iterator[Finding]:
    """Every volume that a layer declares is mounted by a service."""
    mounted = {
        mount["source"]
        for each in checkout.whole
        for service in each.services.values()
        for mount in service.get("volumes", [])
        if mount["type"] == "volume" and mount.get("source")
    }
    yield from _unused(checkout, "volumes", mounted)


def _unused(checkout: Checkout, kind: str, used: set[str]) -> Iterator[Finding]:
    """One finding for every declaration of ``kind`` in any layer."""
    for source in checkout.layers:
        for name, _ in items(source.node_at(kind)):
            problem = "" if name.value in used else f"no service uses {name.value} of {kind}"
            yield source.at(name, problem)
