"""The address of the client of a request, also behind a reverse proxy.

A proxy appends the address that connected to it to X-Forwarded-For. Anybody can send the header, so only the addresses
that trusted proxies have appended count: the client is the last one that is no trusted proxy.
"""

import asyncio
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

from netmon.logs import logger
from netmon.spec_parts import normal_host
from netmon.supervision import deadline, describe

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LOOKUP_SECONDS = 1.0
"""The timeout of a lookup, and the time from one to the next while a peer is unknown."""
MAX_AGE_SECONDS = 30.0
"""The age at which the addresses of a name are looked up again: another container may have got the address."""

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """Proxies whose X-Forwarded-For counts: networks, and names, which are looked up."""

    networks: tuple[Network, ...] = ()
    names: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse addresses, networks and host names, separated by commas.

        Raises:
            ValueError: one of them is none of these.
        """
        networks: list[Network] = []
        names = []
        for part in filter(None, (each.strip() for each in text.split(","))):
            if "/" in part:
                networks.append(ip_network(part))
                continue
            host = normal_host(part)
            try:
                networks.append(ip_network(host))
            except ValueError:
                names.append(host)
        return cls(tuple(networks), tuple(names))


class ClientAddresses:
    """Finds the addresses of clients."""

    def __init__(self, trusted: TrustedProxies) -> None:
        self._trusted = trusted
        self._of_names: frozenset[Address] = frozenset()
        self._looked_up_at = float("-inf")

    async def client(self, peer: str, forwarded: Iterable[str]) -> Address | None:
        """The address of a client.

        Args:
            peer: the address of the connection.
            forwarded: the values of the headers X-Forwarded-For, in their order.

        Returns:
            None if the connection has no IP address.
        """
        found = _parsed(peer)
        hops = [part for value in forwarded for part in value.split(",")]
        if found is None or not hops:
            return found
        await self._look_up(found)
        while hops and self._is_trusted(found):
            before = _parsed(hops.pop())
            if before is None:
                break
            found = before
        return found

    def _is_trusted(self, address: Address) -> bool:
        return address in self._of_names or any(address in network for network in self._trusted.networks)

    async def _look_up(self, peer: Address) -> None:
        """Look up the names, if their addresses are old, or may lack that of this peer."""
        age = time.monotonic() - self._looked_up_at
        if not self._trusted.names or age < LOOKUP_SECONDS or (age < MAX_AGE_SECONDS and self._is_trusted(peer)):
            return
        self._looked_up_at = time.monotonic()
        try:
            found = await deadline(_addresses(self._trusted.names), LOOKUP_SECONDS)
        except (OSError, TimeoutError) as error:
            log.debug("trusted proxy not found", reason=describe(error))
        else:
            self._of_names = found


async def _addresses(names: Sequence[str]) -> frozenset[Address]:
    loop = asyncio.get_running_loop()
    found = await asyncio.gather(*(loop.getaddrinfo(name, None, type=socket.SOCK_STREAM) for name in names))
    return frozenset(ip_address(str(entry[4][0])) for entries in found for entry in entries)


def _parsed(text: str) -> Address | None:
    """An address, with or without a port; None if it is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
