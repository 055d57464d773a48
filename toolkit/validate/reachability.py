"""The networks of the effective production configuration imply what reachability.yml says, no more and no less."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from toolkit.checkout.reachability import FILE, HOST, OUTSIDE, Connection, InvalidMatrixError, Matrix, Network
from toolkit.validate.checkout import Checkout, Configuration
from toolkit.validate.findings import BrokenFileError, Finding

GATEWAY = "com.docker.network.bridge.gateway_mode_ipv4"


def matrix(checkout: Checkout) -> Iterator[Finding]:
    """Every connection is between services that there are, stands once, and has a reason."""
    source, found = checkout.source(FILE), _load(checkout)
    known = {name for each in _hardened(checkout) for name in each.services} | OUTSIDE
    listed: set[tuple[str, str]] = set()
    for number, entry in enumerate(found.entries):
        unknown = sorted({entry.to, *entry.sources} - known)
        problem = f"there is no service {unknown[0]}" if unknown else ""
        if (entry.to, entry.port) in listed:
            problem = f"{entry.to}:{entry.port} stands twice"
        elif not str(entry.because).strip():
            problem = "there is no reason"
        elif not entry.port and entry.to not in OUTSIDE:
            problem = f"{entry.to} has no port"
        listed.add((entry.to, entry.port))
        yield source.finding("connections", number, "to", problem=problem)


def members(checkout: Checkout) -> Iterator[Finding]:
    """Whoever joins a network is among its members, and the other way round."""
    source, found = checkout.source(FILE), _load(checkout)
    by_name = {network.name: network for network in found.networks}
    for each in _hardened(checkout):
        for name, service in each.services.items():
            for joined in service.get("networks", {}):
                listed = joined in by_name and name in by_name[joined].members
                problem = "" if listed else f"{name} joins {joined}, whose members in {FILE} it is not among"
                yield checkout.place(each.files, "services", name, "networks", problem=problem)
        for network in found.networks:
            for number, member in enumerate(network.members):
                if member in OUTSIDE:
                    fine = member == HOST and network.world
                    problem = "" if fine else f"{member} is on no network that is not the way to the world"
                elif member not in each.services:
                    continue  # the other set of images has it
                else:
                    joins = network.name in each.services[member].get("networks", {})
                    problem = "" if joins else f"{member} does not join {network.name}"
                yield source.finding("networks", network.name, "members", number, problem=problem)
    names = {member for network in found.networks for member in network.members}
    known = {name for each in _hardened(checkout) for name in each.services} | OUTSIDE
    for name in sorted(names - known):
        yield source.finding("networks", problem=f"there is no service {name}")


def possible(checkout: Checkout) -> Iterator[Finding]:
    """Every allowed connection has a network to go over, or a published port to come in at."""
    source, found = checkout.source(FILE), _load(checkout)
    opened = {connection for network in found.networks for connection in found.connections_in(network)}
    for number, entry in enumerate(found.entries):
        yield source.finding("connections", number, "to")
        for name in entry.sources:
            connection = Connection(name, entry.to, entry.port)
            if name == entry.to or connection in opened or (name in OUTSIDE and _published(checkout, entry.to)):
                continue
            way = "is published" if name in OUTSIDE else "is on a network of both"
            problem = f"{name} cannot reach {entry.to}, since nothing {way}"
            yield source.finding("connections", number, "from", problem=problem)


def needed(checkout: Checkout) -> Iterator[Finding]:
    """Nobody is on a network in vain, and what is open there without being allowed is accounted for."""
    source, found = checkout.source(FILE), _load(checkout)
    for network in found.networks:
        opened = found.connections_in(network)
        used = opened & found.allowed
        talking = {name for each in used if _is_for(network, each) for name in (each.source, each.to)}
        for number, member in enumerate(network.members):
            idle = member not in talking and member not in OUTSIDE and not _published(checkout, member)
            problem = f"{member} has nothing to say on {network.name}, and nobody has anything to say to it"
            yield source.finding("networks", network.name, "members", number, problem=problem if idle else "")
        strangers = _strangers(network, used)
        problem = ""
        if opened - used and not network.unused:
            pair = " and ".join(strangers[0]) if strangers else "members"
            problem = f"{pair} reach each other on {network.name} without being allowed to: unused must say why"
        elif not opened - used and network.unused:
            problem = f"everything that is open on {network.name} is allowed: there is nothing unused"
        yield source.finding("networks", network.name, "unused", problem=problem)


def isolated(checkout: Checkout) -> Iterator[Finding]:
    """Only the networks that lead to the world do; no other one reaches the host."""
    found = _load(checkout)
    for each in _hardened(checkout):
        for network in found.networks:
            config = each.config["networks"].get(network.name)
            if config is None:
                yield Finding(FILE, 1, f"there is no network {network.name}")
                continue
            for key, problem in _leaks(network, config):
                yield checkout.place((checkout.security_layer,), "networks", network.name, key, problem=problem)
            yield checkout.place(each.files, "networks", network.name)


def _leaks(network: Network, config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    options = config.get("driver_opts") or {}
    internal = bool(config.get("internal"))
    if network.world:
        if internal:
            yield "internal", f"{network.name} is to lead to the world, but is internal"
    elif not internal:
        yield "internal", f"{network.name} leads to the world: internal must be true"
    elif options.get(GATEWAY) != "isolated":
        yield "driver_opts", f"{network.name} leads to the ports of the host: {GATEWAY} must be isolated"


def _is_for(network: Network, connection: Connection) -> bool:
    """Whether a connection is what the network is there for: on a way to the world only what leads out or comes in."""
    return not network.world or not OUTSIDE.isdisjoint((connection.source, connection.to))


def _strangers(network: Network, used: frozenset[Connection]) -> list[tuple[str, str]]:
    """Pairs of a network of which neither may reach the other."""
    known = {frozenset((connection.source, connection.to)) for connection in used}
    return [pair for pair in combinations(network.members, 2) if frozenset(pair) not in known]


def _published(checkout: Checkout, name: str) -> bool:
    return any(each.services.get(name, {}).get("ports") for each in _hardened(checkout))


def _hardened(checkout: Checkout) -> list[Configuration]:
    return list(filter(checkout.is_hardened, checkout.whole))


def _load(checkout: Checkout) -> Matrix:
    try:
        return Matrix.load(checkout.root)
    except InvalidMatrixError as error:
        raise BrokenFileError(Finding(FILE, 1, error.why)) from error
