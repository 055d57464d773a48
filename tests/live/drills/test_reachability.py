"""Every pair of a running production stack, both ways, the host and another machine among them."""

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

AT_ONCE = 4
"""Sources that try their connections side by side."""
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can put another machine beside this one")


@dataclass(frozen=True)
class Map:
    """Everything that can be tried: the interpreters of each source, and what each target belongs to."""

    sources: dict[str, list[list[str]]]
    targets: dict[Target, tuple[str, str]]
    published: dict[Target, tuple[str, str]]
    """Ports of this host that lead to a service; to a container they are the host's."""

    @property
    def every(self) -> list[Target]:
        """What every source tries."""
        return [*self.targets, *self.published]

    def opened(self, *names: str) -> frozenset[Connection]:
        """What works from these sources; from all of them where none is named."""
        places = [(name, argv) for name in names or self.sources for argv in self.sources[name]]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = list(pool.map(lambda place: reached(place[1], self.every), places))
        return frozenset(
            each
            for (name, _), targets in zip(places, found, strict=True)
            for each in (self._connection(name, target) for target in targets)
            if each.source != each.to
        )

    def tried(self) -> frozenset[Connection]:
        """Every pair and port."""
        every = {self._connection(name, target) for name in self.sources for target in self.every}
        return frozenset(each for each in every if each.source != each.to)

    def _connection(self, source: str, target: Target) -> Connection:
        if target in self.published:
            return Connection(source, *(self.published[target] if source in OUTSIDE else (HOST, "")))
        return Connection(source, *self.targets[target])


@pytest.fixture
def drawn(prod_stack: Stack) -> Iterator[Map]:
    """The stack as it is, with a client of the smoke checks, and what it publishes shown to another machine."""
    client = prod_stack.compose("run", "--detach", "--rm", "--no-deps", "--entrypoint", "sleep", "smoke", "600").strip()
    try:
        with network.neighbour() as beside, published(prod_stack, HERE), network.listening_host() as port:
            inspected = json.loads(prod_stack.docker("inspect", *prod_stack.containers(), client))
            with network.unanswered(inspected):
                yield draw(prod_stack, inspected, beside, port)
    finally:
        prod_stack.docker("rm", "--force", client)


@contextmanager
def published(stack: Stack, address: str) -> Iterator[None]:
    """The proxy is published on an address that other machines reach."""
    recreate = ("docker", "compose", "up", "--detach", "--no-deps", "--no-build", "--wait", "proxy")
    stack.run(*recreate, env={"PROXY_BIND_ADDRESS": address})
    try:
        yield
    finally:
        stack.run(*recreate)


def draw(stack: Stack, inspected: list[dict[str, Any]], beside: Neighbour, port: int) -> Map:
    """Look at every container; ``port`` is open on the host."""
    image = stack.container("worker")["Config"]["Image"]
    drawn = Map({HOST: [list(FROM_HOST)], WORLD: [beside.interpreter]}, {beside.target: (WORLD, "")}, {})
    for engine in inspected:
        found = inspect(engine)
        drawn.sources.setdefault(found.name, []).append(from_container(engine["Id"], image))
        for endpoint in engine["NetworkSettings"]["Networks"].values():
            for listening in filter(lambda each: each.endswith("/tcp"), found.listening):
                drawn.targets[endpoint["IPAddress"], number(listening)] = (found.name, listening)
        for inside, bindings in (engine["NetworkSettings"]["Ports"] or {}).items():
            for binding in bindings if bindings and inside.endswith("/tcp") else ():
                drawn.published[binding["HostIp"], int(binding["HostPort"])] = (found.name, inside)
    for address in set().union(network.own_addresses(), *map(gateways, inspected)):
        drawn.targets[address, port] = (HOST, "")
    return drawn


def number(port: str) -> int:
    """The number of ``number/protocol``."""
    return int(port.partition("/")[0])


GROUPS: tuple[tuple[str, Callable[[Connection], bool]], ...] = (
    ("between services", lambda each: OUTSIDE.isdisjoint({each.source, each.to})),
    ("to the host", lambda each: each.to == HOST),
    ("to the world", lambda each: each.to == WORLD),
    ("from the host", lambda each: each.source == HOST),
    ("from the world", lambda each: each.source == WORLD),
)
OUTSIDE_THE_STACK = {Connection(HOST, WORLD), Connection(WORLD, HOST)}


def test_every_pair(prod_stack: Stack, drawn: Map, record: Record) -> None:
    matrix = Matrix.load(prod_stack.root)
    tried, opened = drawn.tried() - OUTSIDE_THE_STACK, drawn.opened() - OUTSIDE_THE_STACK
    allowed, unused = matrix.allowed & tried, matrix.unused & tried
    assert sorted(allowed - opened) == [], "allowed, but closed"
    assert sorted(opened - allowed - unused) == [], "open, but not allowed"
    assert sorted(unused - opened) == [], "said to be open, but closed"
    for name, belongs in GROUPS:
        counts = [sum(map(belongs, each)) for each in (tried, allowed, unused, tried - opened)]
        record("{}: {} tried, {} allowed and open, {} unused and open, {} closed".format(name, *counts))


def test_a_network_that_is_joined_is_seen(prod_stack: Stack, drawn: Map, record: Record) -> None:
    """The drill can fail: with a way out that it must not have, the database gets out, and to its other members."""
    matrix = Matrix.load(prod_stack.root)
    way = next(each for each in matrix.networks if each.name == "egress-network")
    joined, database = f"{prod_stack.name}_{way.name}", prod_stack.container("db")["Id"]
    prod_stack.docker("network", "connect", joined, database)
    try:
        opened = drawn.opened("db")
    finally:
        prod_stack.docker("network", "disconnect", joined, database)
    possible = {
        each for each in matrix.connections_in(replace(way, members=(*way.members, "db"))) if each.source == "db"
    }
    found = opened - matrix.allowed - matrix.unused
    assert found == possible & drawn.tried() - matrix.allowed - matrix.unused
    assert {Connection("db", WORLD), Connection("db", HOST)} < found
    record(f"{len(found)} connections of the database that must not be, seen")
