"""A TCP connection that is opened and closed."""

import asyncio
import socket
from functools import partial

from netmon.probing.happy_eyeballs import reach
from netmon.probing.resolver import Resolver
from netmon.specs import TcpSpec


async def probe(spec: TcpSpec, resolver: Resolver) -> None:
    """Connect to the first address that accepts.

    Raises:
        FAILURES: see `netmon.probing.errors`.
    """
    await reach(await resolver.addresses(spec.host, spec.port), partial(_connect, port=spec.port))


async def _connect(address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as connection:
        await asyncio.get_running_loop().sock_connect(connection, (address, port))
