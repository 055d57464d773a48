"""Connections between all pairs of a running production stack, the host and another machine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.live import network
from tests.live.network import FROM_HOST, HERE, Neighbour, Target, from_container, gateways, reached
from tests.live.stack import Stack
from toolkit.checkout.reachability import HOST, OUTSIDE, WORLD, Connection, Matrix
from toolkit.policy.running import inspect

Record = Callable[[str], None]

CONCURRENCY = 4
"""Sources that connect concurrently."""
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a second machine requires root")


@dataclass(frozen=True)
class Map:
    """All possible connections: the interpreters of each source, and the owner of each target."""

    sources: dict[str, list[list[str]]]
    targets: dict[Target, tuple[str, str]]
    published: dict[Target, tuple[str, str]]
    """Published ports on this host, with their services; for a container they belong to the host."""

    @property
    def every(self) -> list[Target]:
        """The targets of every source."""
        return [*self.targets, *self.published]

    def opened(self, *names: str) -> frozenset[Connection]:
        """The open connections from these sources, by default from all."""
        places = [(name, argv) for name in names or self.sources for argv in self.sources[name]]
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            found = list(pool.map(lambda place: reached(place[1], self.every), places))
        return frozenset(
            each
            for (name, _), targets in zip(places, found, strict=True)
            for each in (self._connection(name, target) for target in targets)
            if each.source != each.to
        )

    def tried(self) -> frozenset[Connection]:
        """All attempted connections."""
        every = {self._connection(name, target) for name in self.sources for target in self.every}
        return frozenset(each for each in every if each.source != each.to)

    def _connection(self, source: str, target: Target) -> Connection:
        if target in self.published:
            return Connection(source, *(self.published[target] if source in OUTSIDE else (HOST, "")))
        return Connection(source, *self.targets[target])


@pytest.fixture
def connections(prod_stack: Stack) -> Iterator[Map]:
    """The running stack with a client of the smoke checks, published to another machine."""
    client = prod_stack.compose("run", "--detach", "--rm", "--no-deps", "--entrypoint", "sleep", "smoke", "600").strip()
    try:
        with network.neighbour() as beside, published(prod_stack, HERE), network.listening_host() as port:
            inspected = json.loads(prod_stack.docker("inspect", *prod_stack.containers(), client))
            with network.unroutable(inspected):
                yield build_map(inspected, beside, port)
    finally:
        prod_stack.docker("rm", "--force", client)


@contextmanager
def published(stack: Stack, address: str) -> Iterator[None]:
    """Publish the proxy on an address that other machines reach."""
    recreate = ("docker", "compose", "up", "--detach", "--no-deps", "--no-build", "--wait", "proxy")
    stack.run(*recreate, env={"PROXY_BIND_ADDRESS": address})
    try:
        yield
    finally:
        stack.run(*recreate)


def build_map(inspected: list[dict[str, Any]], beside: Neighbour, port: int) -> Map:
    """Inspect every container; ``port`` is open on the host."""
    found = Map({HOST: [list(FROM_HOST)], WORLD: [beside.interpreter]}, {beside.target: (WORLD, "")}, {})
    for engine in inspected:
        container = inspect(engine)
        found.sources.setdefault(container.name, []).append(from_container(engine))
        for endpoint in engine["NetworkSettings"]["Networks"].values():
            for listening in filter(lambda each: each.endswith("/tcp"), container.listening):
                found.targets[endpoint["IPAddress"], number(listening)] = (container.name, listening)
        for inside, bindings in (engine["NetworkSettings"]["Ports"] or {}).items():
            for binding in bindings if bindings and inside.endswith("/tcp") else ():
                found.published[binding["HostIp"], int(binding["HostPort"])] = (container.name, inside)
    for address in set().union(network.own_addresses(), *map(gateways, inspected)):
        found.targets[address, port] = (HOST, "")
    return found


def number(port: str) -> int:
    """The number of a port in the form ``number/protocol``."""
    return int(port.partition("/")[0])


GROUPS: tuple[tuple[str, Callable[[Connection], bool]], ...] = (
    ("between services", lambda each: OUTSIDE.isdisjoint({each.source, each.to})),
    ("to the host", lambda each: each.to == HOST),
    ("to the world", lambda each: each.to == WORLD),
    ("from the host", lambda each: each.source == HOST),
    ("from the world", lambda each: each.source == WORLD),
)
OUTSIDE_THE_STACK = {Connection(HOST, WORLD), Connection(WORLD, HOST)}


def test_open_connections_are_exactly_the_declared_ones(prod_stack: Stack, connections: Map, record: Record) -> None:
    matrix = Matrix.load(prod_stack.root)
    tried, opened = connections.tried() - OUTSIDE_THE_STACK, connections.opened() - OUTSIDE_THE_STACK
    allowed, unused = matrix.allowed & tried, matrix.unused & tried
    assert sorted(allowed - opened) == [], "allowed, but closed"
    assert sorted(opened - allowed - unused) == [], "open, but not allowed"
    assert sorted(unused - opened) == [], "declared as open, but closed"
    for name, belongs in GROUPS:
        counts = [sum(map(belongs, each)) for each in (tried, allowed, unused, tried - opened)]
        record("{}: {} tried, {} allowed and open, {} unused and open, {} closed".format(name, *counts))


def test_connections_over_an_additional_network_are_detected(
    prod_stack: Stack, connections: Map, record: Record
) -> None:
    """The drill can fail: on egress-network, the database reaches the outside and the other members."""
    matrix = Matrix.load(prod_stack.root)
    egress = next(each for each in matrix.networks if each.name == "egress-network")
    joined, database = f"{prod_stack.name}_{egress.name}", prod_stack.container("db")["Id"]
    prod_stack.docker("network", "connect", joined, database)
    try:
        opened = connections.opened("db")
    finally:
        prod_stack.docker("network", "disconnect", joined, database)
    joined_network = replace(egress, members=(*egress.members, "db"))
    possible = {each for each in matrix.connections_in(joined_network) if each.source == "db"}
    found = opened - matrix.allowed - matrix.unused
    assert found == possible & connections.tried() - matrix.allowed - matrix.unused
    assert {Connection("db", WORLD), Connection("db", HOST)} < found
    record(f"{len(found)} forbidden connections of the database detected")
