"""Connection attempts from a container, from this host and from another machine."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

Target = tuple[str, int]
"""An address and a TCP port."""

TIMEOUT = 3
"""Seconds for one attempt; the attempts of a source run concurrently."""
PROGRAM = f"""
import asyncio, json, sys

async def attempt(host, port):
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), {TIMEOUT})
    except (OSError, asyncio.TimeoutError):
        return False
    writer.close()
    return True

async def main(targets):
    print(json.dumps(await asyncio.gather(*(attempt(*target) for target in targets))))

asyncio.run(main(json.load(sys.stdin)))
"""
LISTENER = """
import socket, sys, time
listener = socket.create_server(("", 0), backlog=1000)
print(listener.getsockname()[1], flush=True)
time.sleep(3600)
"""
NEIGHBOUR, WIRE = "netmon-neighbour", "netmon-wire"
# Addresses of a network that is reserved for documentation (RFC 5737): unused on this machine.
HERE, THERE = "198.51.100.1", "198.51.100.2"


def reached(argv: Sequence[str], targets: Sequence[Target]) -> frozenset[Target]:
    """The targets that accept a connection from a Python interpreter, started with ``argv``."""
    done = subprocess.run([*argv, "-c", PROGRAM], input=json.dumps(targets), capture_output=True, text=True,
                          timeout=120, check=False)  # fmt: skip
    assert done.returncode == 0, f"{argv} ended with {done.returncode}: {done.stderr}"
    return frozenset(target for target, opened in zip(targets, json.loads(done.stdout), strict=True) if opened)


def from_container(container: dict[str, Any]) -> list[str]:
    """The command of an interpreter in the network namespace of a running container; requires root.

    ``container`` is its ``docker inspect``. The interpreter is that of this host: the image needs none.
    """
    return ["nsenter", f"--net=/proc/{container['State']['Pid']}/ns/net", sys.executable]


FROM_HOST = (sys.executable,)


def gateways(container: dict[str, Any]) -> set[str]:
    """The possible addresses of the host in a container's networks: the first one of each."""
    networks = container["NetworkSettings"]["Networks"].values()
    prefixes = (f"{network['IPAddress']}/{network['IPPrefixLen']}" for network in networks)
    return {str(next(ip_network(prefix, strict=False).hosts())) for prefix in prefixes}


def own_addresses() -> set[str]:
    """This host's IPv4 addresses, except loopback addresses."""
    listed = json.loads(subprocess.run(["ip", "-json", "-4", "addr"], capture_output=True, check=True).stdout)
    found = {address["local"] for interface in listed for address in interface["addr_info"]}
    return {address for address in found if not address.startswith("127.")}


@contextmanager
def unroutable(containers: Iterable[dict[str, Any]]) -> Iterator[None]:
    """Reject packets that this host has no route for: some default gateways accept connections to any address."""
    networks = [network for container in containers for network in container["NetworkSettings"]["Networks"].values()]
    subnets = {str(ip_network(f"{each['IPAddress']}/{each['IPPrefixLen']}", strict=False)) for each in networks}
    # With the lowest priority: a bridge with an address on this host takes precedence.
    routes = [["unreachable", subnet, "metric", "4294967294"] for subnet in sorted(subnets)]
    for route in routes:
        subprocess.run(["ip", "route", "replace", *route], check=True)
    try:
        yield
    finally:
        for route in routes:
            subprocess.run(["ip", "route", "delete", *route], check=True)


@contextmanager
def listening_host() -> Iterator[int]:
    """A port that this host listens on, on every address."""
    with socket.create_server(("", 0), backlog=1000) as listener:
        yield int(listener.getsockname()[1])


@dataclass(frozen=True)
class Neighbour:
    """Another machine, connected to this host: a network namespace that routes through the host."""

    port: int
    """The port that the machine listens on."""

    @property
    def target(self) -> Target:
        """The target that containers with outbound access reach."""
        return THERE, self.port

    @property
    def interpreter(self) -> list[str]:
        """The command of an interpreter on the machine."""
        return ["ip", "netns", "exec", NEIGHBOUR, sys.executable]


@contextmanager
def neighbour() -> Iterator[Neighbour]:
    """Create another machine; requires root."""

    def ip(words: str, *, inside: bool = False, check: bool = True) -> None:
        prefix = ["ip", "netns", "exec", NEIGHBOUR] if inside else []
        subprocess.run([*prefix, "ip", *words.split()], capture_output=True, check=check)

    ip(f"netns delete {NEIGHBOUR}", check=False)
    ip(f"netns add {NEIGHBOUR}")
    try:
        ip(f"link add {WIRE} type veth peer name eth0 netns {NEIGHBOUR}")
        ip(f"addr add {HERE}/30 dev {WIRE}")
        ip(f"link set {WIRE} up")
        ip(f"addr add {THERE}/30 dev eth0", inside=True)
        ip("link set eth0 up", inside=True)
        ip(f"route add default via {HERE}", inside=True)
        with subprocess.Popen(["ip", "netns", "exec", NEIGHBOUR, sys.executable, "-c", LISTENER], text=True,
                              stdout=subprocess.PIPE) as listener:  # fmt: skip
            try:
                assert listener.stdout
                yield Neighbour(int(listener.stdout.readline()))
            finally:
                listener.kill()
    finally:
        ip(f"netns delete {NEIGHBOUR}", check=False)
        ip(f"link delete {WIRE}", check=False)
