"""Every pair of a running production stack, both ways, with the host and another machine: what reachability.yml says."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.live import network
from tests.live.network import FROM_HOST, Target, from_container, gateways, reached
from tests.live.stack import Stack
from toolkit.policy.running import look
from toolkit.reachability import HOST, OUTSIDE, WORLD, Connection, Matrix

Record = Callable[[str], None]

SOURCES_AT_ONCE = 4
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can put another machine beside this one")


@dataclass(frozen=True)
class Map:
    """Everything that can be tried: the interpreters of each source, and what a target would be a connection to."""

    sources: dict[str, list[list[str]]]
    targets: dict[Target, tuple[str, str]]

    def opened(self, *names: str) -> frozenset[Connection]:
        """What works from these sources; from all of them where none is named."""
        places = [(name, argv) for name in names or self.sources for argv in self.sources[name]]
        with ThreadPoolExecutor(SOURCES_AT_ONCE) as pool:
            found = pool.map(lambda place: reached(place[1], list(self.targets)), places)
            connections = {
                Connection(name, *self.targets[target])
                for (name, _), targets in zip(places, found, strict=True)
                for target in targets
            }
        return frozenset(each for each in connections if each.source != each.to)

    def tried(self) -> frozenset[Connection]:
        """Every pair and port."""
        pairs = {Connection(name, to, port) for name in self.sources for to, port in self.targets.values()}
        return frozenset(each for each in pairs if each.source != each.to)


@pytest.fixture
def drawn(prod_stack: Stack) -> Iterator[Map]:
    """The stack as it is, its one-off client of the smoke checks among it."""
    client = prod_stack.compose("run", "--detach", "--rm", "--no-deps", "--entrypoint", "sleep", "smoke", "600").strip()
    try:
        with ExitStack() as held:
            yield _draw(prod_stack, [*prod_stack.containers(), client], held)
    finally:
        prod_stack.docker("rm", "--force", client)


def _draw(stack: Stack, containers: list[str], held: ExitStack) -> Map:
    inspected: list[dict[str, Any]] = json.loads(stack.docker("inspect", *containers))
    image = stack.container("worker")["Config"]["Image"]
    beside, open_port = held.enter_context(network.neighbour()), held.enter_context(network.listening_host())
    sources: dict[str, list[list[str]]] = {HOST: [list(FROM_HOST)], WORLD: [beside.interpreter]}
    targets: dict[Target, tuple[str, str]] = {beside.target: (WORLD, "")}
    for engine in inspected:
        found = look(engine)
        sources.setdefault(found.name, []).append(from_container(engine["Id"], image))
        addresses = [each["IPAddress"] for each in engine["NetworkSettings"]["Networks"].values()]
        ports = [port for port in found.listening if port.endswith("/tcp")]
        targets |= {(at, int(port.partition("/")[0])): (found.name, port) for at in addresses for port in ports}
        targets |= {(at, open_port): (HOST, "") for at in gateways(engine)}
    targets |= {(at, open_port): (HOST, "") for at in network.own_addresses()}
    return Map(sources, targets)


def test_every_pair(prod_stack: Stack, drawn: Map, record: Record) -> None:
    matrix = Matrix.load(prod_stack.root)
    tried, opened = drawn.tried(), drawn.opened()
    allowed, unused = matrix.allowed & tried, matrix.unused & tried
    assert sorted(allowed - opened) == [], "allowed, but closed"
    assert sorted(opened - allowed - unused) == [], "open, but not allowed"
    assert sorted(unused - opened) == [], "said to be open, but closed"
    for name, of in (
        ("between services", lambda each: OUTSIDE.isdisjoint({each.source, each.to})),
        ("to the host", lambda each: each.to == HOST and each.source != WORLD),
        ("to the world", lambda each: each.to == WORLD and each.source != HOST),
        ("from the host", lambda each: each.source == HOST and each.to != WORLD),
        ("from the world", lambda each: each.source == WORLD and each.to != HOST),
    ):
        counts = [sum(map(of, each)) for each in (tried, allowed, unused, tried - allowed - unused)]
        record("{}: {} tried, {} allowed work, {} unused are open, {} fail".format(name, *counts))


def test_a_network_that_is_joined_is_seen(prod_stack: Stack, drawn: Map, record: Record) -> None:
    """The drill can fail: the database on a network where it does not belong reaches what it must not."""
    joined, database = f"{prod_stack.name}_egress-network", prod_stack.container("db")["Id"]
    prod_stack.docker("network", "connect", joined, database)
    try:
        opened = drawn.opened("db")
    finally:
        prod_stack.docker("network", "disconnect", joined, database)
    assert {Connection("db", WORLD), Connection("db", HOST)} <= opened
    record(f"{len(opened - Matrix.load(prod_stack.root).unused)} connections of the database that must not be")
