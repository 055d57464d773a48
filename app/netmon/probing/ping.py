"""An ICMP echo request through a datagram socket, which needs no privilege (net.ipv4.ping_group_range)."""

import asyncio
import os
import socket
import struct

from netmon.probing.errors import PingNotPermittedError
from netmon.probing.happy_eyeballs import reach
from netmon.probing.resolver import Resolver
from netmon.specs import PingSpec

_HEADER = struct.Struct("!BBHHH")
"""Type, code, checksum, identifier, sequence number; the kernel fills in the checksum and the identifier."""
_TYPES = {socket.AF_INET: (8, 0), socket.AF_INET6: (128, 129)}
"""ICMP types of request and reply."""


async def probe(spec: PingSpec, resolver: Resolver) -> None:
    """Send a request to the addresses one after another until one replies, without a timeout of its own.

    Raises:
        FAILURES: see `netmon.probing.errors`.
    """
    await reach(await resolver.addresses(spec.host), _echo)


async def _echo(address: str) -> None:
    token = os.urandom(16)
    with _connected(address) as icmp:
        request, reply = _TYPES[icmp.family]
        icmp.send(_HEADER.pack(request, 0, 0, 0, 1) + token)
        while True:
            answer = await asyncio.get_running_loop().sock_recv(icmp, 1024)
            if answer[:1] == bytes([reply]) and answer[_HEADER.size :] == token:
                return


def _connected(address: str) -> socket.socket:
    """A socket that receives packets from this address only."""
    family, protocol = (
        (socket.AF_INET6, socket.IPPROTO_ICMPV6) if ":" in address else (socket.AF_INET, socket.IPPROTO_ICMP)
    )
    try:
        icmp = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, protocol)
    except PermissionError:
        raise PingNotPermittedError(
            f"the worker is not permitted to send pings: its group {os.getgid()} is not in net.ipv4.ping_group_range"
        ) from None
    try:
        icmp.connect((address, 0))
    except OSError:
        icmp.close()
        raise
    return icmp
