"""Connections tried from where a container, this host or another machine stands."""

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

SECONDS = 3
"""For one attempt; all of a source are made at once."""
PROGRAM = f"""
import asyncio, json, sys

async def attempt(host, port):
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), {SECONDS})
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
# Of a network that is set aside for documentation: nothing else on this machine has it.
HERE, THERE = "198.51.100.1", "198.51.100.2"


def reached(argv: Sequence[str], targets: Sequence[Target]) -> frozenset[Target]:
    """Those of the targets that answer a Python interpreter, which ``argv`` starts somewhere."""
    done = subprocess.run([*argv, "-c", PROGRAM], input=json.dumps(targets), capture_output=True, text=True,
                          timeout=120, check=False)  # fmt: skip
    assert done.returncode == 0, f"{argv} ended with {done.returncode}: {done.stderr}"
    return frozenset(target for target, opened in zip(targets, json.loads(done.stdout), strict=True) if opened)


def from_container(container: str, image: str) -> list[str]:
    """An interpreter in the network of a container, whatever the container's own image has."""
    return ["docker", "run", "--rm", "--interactive", "--network", f"container:{container}", "--entrypoint", "python3",
            image]  # fmt: skip


FROM_HOST = (sys.executable,)


def gateways(container: dict[str, Any]) -> set[str]:
    """Where the host could be found from a container's networks: at the first address of each."""
    networks = container["NetworkSettings"]["Networks"].values()
    prefixes = (f"{network['IPAddress']}/{network['IPPrefixLen']}" for network in networks)
    return {str(next(ip_network(prefix, strict=False).hosts())) for prefix in prefixes}


def own_addresses() -> set[str]:
    """This host's addresses but those of the loopback interface."""
    listed = json.loads(subprocess.run(["ip", "-json", "-4", "addr"], capture_output=True, check=True).stdout)
    found = {address["local"] for interface in listed for address in interface["addr_info"]}
    return {address for address in found if not address.startswith("127.")}


@contextmanager
def unanswered(containers: Iterable[dict[str, Any]]) -> Iterator[None]:
    """What this host has no route for is not passed on: there are gateways that answer for whomever one asks."""
    networks = [network for container in containers for network in container["NetworkSettings"]["Networks"].values()]
    subnets = {str(ip_network(f"{each['IPAddress']}/{each['IPPrefixLen']}", strict=False)) for each in networks}
    # The last of all routes: a bridge that has an address on this host comes first.
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
    """A port of this host that is open on every address."""
    with socket.create_server(("", 0), backlog=1000) as listener:
        yield int(listener.getsockname()[1])


@dataclass(frozen=True)
class Neighbour:
    """Another machine, beside this host on a wire of its own: a network namespace that routes through the host."""

    port: int
    """Where it listens."""

    @property
    def target(self) -> Target:
        """What a container that may reach the world reaches."""
        return THERE, self.port

    @property
    def interpreter(self) -> list[str]:
        """An interpreter there."""
        return ["ip", "netns", "exec", NEIGHBOUR, sys.executable]


@contextmanager
def neighbour() -> Iterator[Neighbour]:
    """Another machine; only root can make one."""

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
