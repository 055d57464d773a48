"""TCP connections to addresses that the guard permits."""

import asyncio
import socket
from collections.abc import Sequence

from netmon.probing.attempt import Attempt
from netmon.probing.happy_eyeballs import reach
from netmon.probing.resolver import Resolver


async def connect(host: str, port: int, resolver: Resolver, attempt: Attempt) -> socket.socket:
    """A connection to the first address of a host that accepts one, which the caller closes.

    Raises:
        FAILURES: see `netmon.probing.errors`.
    """
    with attempt.timed("lookup"):
        addresses = await resolver.addresses(host, port)
    with attempt.timed("connect"):
        return await _first(addresses, port)


async def _first(addresses: Sequence[str], port: int) -> socket.socket:
    opened: list[socket.socket] = []

    async def attempt(address: str) -> socket.socket:
        opened.append(connection := await _connect(address, port))
        return connection

    winner = None
    try:
        winner = await reach(addresses, attempt)
    finally:
        for each in opened:
            if each is not winner:  # two have succeeded at the same moment
                each.close()
    return winner


async def _connect(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        await asyncio.get_running_loop().sock_connect(connection, (address, port))
    except BaseException:
        connection.close()
        raise
    return connection
