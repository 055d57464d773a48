"""A TCP connection, opened and closed."""

import socket

import aiohappyeyeballs

from netmon.probing.resolver import Resolver
from netmon.specs import TcpSpec

HEAD_START = 0.25
"""Seconds that an address has for itself before the next one is tried beside it (RFC 8305)."""


async def probe(spec: TcpSpec, resolver: Resolver) -> None:
    """Connect to the first address that accepts.

    Raises:
        FAILURES: see `netmon.probing.errors`.
    """
    infos = [
        (
            socket.AF_INET6 if ":" in address else socket.AF_INET,
            socket.SOCK_STREAM,
            socket.IPPROTO_TCP,
            "",
            (address, spec.port),
        )
        for address in await resolver.addresses(spec.host, spec.port)
    ]
    connection = await aiohappyeyeballs.start_connection(infos, happy_eyeballs_delay=HEAD_START)
    connection.close()
