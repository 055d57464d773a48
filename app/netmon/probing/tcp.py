"""A TCP connection that is opened and closed."""

import socket

import aiohappyeyeballs

from netmon.probing.resolver import Resolver
from netmon.specs import TcpSpec

HAPPY_EYEBALLS_DELAY_SECONDS = 0.25
"""The delay before a connection to the next address is attempted in parallel (RFC 8305)."""


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
    connection = await aiohappyeyeballs.start_connection(infos, happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY_SECONDS)
    connection.close()
