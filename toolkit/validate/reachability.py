"""Checks of the networks of the effective production configuration against reachability.yml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from toolkit.checkout.reachability import FILE, HOST, OUTSIDE, Connection, Entry, InvalidMatrixError, Matrix, Network
from toolkit.validate.checkout import Checkout, Configuration
from toolkit.validate.findings import BrokenFileError, Finding

GATEWAY = "com.docker.network.bridge.gateway_mode_ipv4"
LISTEN, LOOPBACK = "--web.listen-address=", "127.0.0.1"


def matrix(checkout: Checkout) -> Iterator[Finding]:
    """Every connection is between known services, is listed once, and has a reason."""
    source, found = checkout.source(FILE), load(checkout)
    known = {name for each in _hardened(checkout) for name in each.services} | OUTSIDE
    listed: set[tuple[str, str]] = set()
    for number, entry in enumerate(found.entries):
        unknown = sorted({entry.to, *entry.sources} - known)
        problem = f"unknown service {unknown[0]}" if unknown else ""
        if (entry.to, entry.port) in listed:
            problem = f"duplicate {entry.to}:{entry.port}"
        elif not str(entry.because).strip():
            problem = "the reason is missing"
        elif not entry.port and entry.to not in OUTSIDE:
            problem = f"{entry.to} has no port"
        listed.add((entry.to, entry.port))
        yield source.finding("connections", number, "to", problem=problem)


def members(checkout: Checkout) -> Iterator[Finding]:
    """The services that join a network are exactly its members."""
    source, found = checkout.source(FILE), load(checkout)
    by_name = {network.name: network for network in found.networks}
    for each in _hardened(checkout):
        for name, service in each.services.items():
            for joined in service.get("networks", {}):
                listed = joined in by_name and name in by_name[joined].members
                problem = "" if listed else f"{name} joins {joined}, but is not one of its members in {FILE}"
                yield checkout.place(each.files, "services", name, "networks", problem=problem)
        for network in found.networks:
            for number, member in enumerate(network.members):
                if member in OUTSIDE:
                    fine = member == HOST and network.world
                    problem = "" if fine else f"{member} can only be a member of a network that leads to the world"
                elif member not in each.services:
                    continue  # a service of the other image set
                else:
                    joins = network.name in each.services[member].get("networks", {})
                    problem = "" if joins else f"{member} does not join {network.name}"
                yield source.finding("networks", network.name, "members", number, problem=problem)
    names = {member for network in found.networks for member in network.members}
    known = {name for each in _hardened(checkout) for name in each.services} | OUTSIDE
    for name in sorted(names - known):
        yield source.finding("networks", problem=f"unknown service {name}")


def routes(checkout: Checkout) -> Iterator[Finding]:
    """Every allowed connection has a common network, or a published port."""
    source, found = checkout.source(FILE), load(checkout)
    opened = {connection for network in found.networks for connection in found.connections_in(network)}
    for number, entry in enumerate(found.entries):
        yield source.finding("connections", number, "to")
        for name in entry.sources:
            connection = Connection(name, entry.to, entry.port)
            if name == entry.to or connection in opened or (name in OUTSIDE and _published(checkout, entry.to)):
                continue
            why = "it publishes no port" if name in OUTSIDE else "they share no network"
            problem = f"{name} cannot reach {entry.to}: {why}"
            yield source.finding("connections", number, "from", problem=problem)


def listeners(checkout: Checkout) -> Iterator[Finding]:
    """A service that listens on one network only does so by an alias that it has there and nowhere else."""
    source, found = checkout.source(FILE), load(checkout)
    for number, entry in enumerate(found.entries):
        yield source.finding("connections", number, "network")
        for each in _hardened(checkout) if entry.network else ():
            service = each.services.get(entry.to, {})
            problem = _listener_problem(service, entry) if service else ""
            yield checkout.place(each.files, "services", entry.to, "command", problem=problem)


def _listener_problem(service: Mapping[str, Any], entry: Entry) -> str:
    """Why a service can be reached on other networks than that of the entry; empty if it cannot."""
    aliases = {name: set((each or {}).get("aliases") or ()) for name, each in service["networks"].items()}
    own = aliases.pop(entry.network, set()).difference(*aliases.values())
    flags = [word for word in service.get("command") or () if word.startswith(LISTEN)]
    hosts = {word.removeprefix(LISTEN).rpartition(":")[0] for word in flags} or {""}
    others = sorted(hosts - own - {LOOPBACK})
    where = (others[0] or "every address") if others else ""
    return where and f"{entry.to} listens on {where}, which is not an alias on {entry.network} only"


def unused_access(checkout: Checkout) -> Iterator[Finding]:
    """Every member of a network needs it, and open connections that are not allowed have a reason."""
    source, found = checkout.source(FILE), load(checkout)
    for network in found.networks:
        opened = found.connections_in(network)
        used = opened & found.allowed
        connected = {name for each in used if _serves(network, each) for name in (each.source, each.to)}
        for number, member in enumerate(network.members):
            idle = member not in connected and member not in OUTSIDE and not _published(checkout, member)
            problem = f"{member} has no allowed connection on {network.name}"
            yield source.finding("networks", network.name, "members", number, problem=problem if idle else "")
        pairs = _unconnected_pairs(network, used)
        problem = ""
        if opened - used and not network.unused:
            pair = " and ".join(pairs[0]) if pairs else "members"
            problem = (
                f"{pair} can reach each other on {network.name}, but are not allowed to: unused must have the reason"
            )
        elif not opened - used and network.unused:
            problem = f"every open connection on {network.name} is allowed: unused is not needed"
        yield source.finding("networks", network.name, "unused", problem=problem)


def isolation(checkout: Checkout) -> Iterator[Finding]:
    """Only the networks marked so lead to the world, and no other network reaches the host."""
    found = load(checkout)
    for each in _hardened(checkout):
        for network in found.networks:
            config = each.config["networks"].get(network.name)
            if config is None:
                yield Finding(FILE, 1, f"unknown network {network.name}")
                continue
            for key, problem in _leaks(network, config):
                yield checkout.place((checkout.security_layer,), "networks", network.name, key, problem=problem)
            yield checkout.place(each.files, "networks", network.name)


def _leaks(network: Network, config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    options = config.get("driver_opts") or {}
    internal = bool(config.get("internal"))
    if network.world:
        if internal:
            yield "internal", f"{network.name} must lead to the world, but is internal"
    elif not internal:
        yield "internal", f"{network.name} leads to the world: internal must be true"
    elif options.get(GATEWAY) != "isolated":
        yield "driver_opts", f"{network.name} leads to the ports of the host: {GATEWAY} must be isolated"


def _serves(network: Network, connection: Connection) -> bool:
    """Whether a network exists for a connection: a network to the world only for connections from or to outside."""
    return not network.world or not OUTSIDE.isdisjoint((connection.source, connection.to))


def _unconnected_pairs(network: Network, used: frozenset[Connection]) -> list[tuple[str, str]]:
    """Pairs of members without an allowed connection."""
    known = {frozenset((connection.source, connection.to)) for connection in used}
    return [pair for pair in combinations(network.members, 2) if frozenset(pair) not in known]


def _published(checkout: Checkout, name: str) -> bool:
    return any(each.services.get(name, {}).get("ports") for each in _hardened(checkout))


def _hardened(checkout: Checkout) -> list[Configuration]:
    return list(filter(checkout.is_hardened, checkout.full_configurations))


def load(checkout: Checkout) -> Matrix:
    """The permitted connections.

    Raises:
        BrokenFileError: they cannot be read.
    """
    try:
        return Matrix.load(checkout.root)
    except InvalidMatrixError as error:
        raise BrokenFileError(Finding(FILE, 1, error.why)) from error
