"""Name resolution, restricted to addresses that the guard permits."""

import asyncio
import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from netmon.guard import Guard, RefusedAddressError
from netmon.probing.addresses import AddressBook
from netmon.probing.errors import LOOKUP, NoIpv6Error
from netmon.probing.routes import has_route
from netmon.probing.system_names import SystemNames


class CheckedAddress(str):
    """An address that the guard permits; aiohttp passes it to the socket factory unchanged."""

    __slots__ = ()


class Resolver(AbstractResolver):
    """The addresses of names without those that the guard refuses."""

    def __init__(self, guard: Guard, system: SystemNames) -> None:
        self._guard = guard
        self._book = AddressBook(system)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of `host` in the format of aiohttp; raises the same errors as `addresses`."""
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)
            for address in await self.addresses(host, port, family)
        ]

    async def addresses(
        self, host: str, port: int | None = None, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[CheckedAddress]:
        """The addresses of `host` that a connection may be made to, in the order in which to try them (RFC 8305).

        `host` is a name, which is complete, or an IP address. Each address is permitted by the guard and, if it is an
        IPv6 address, within reach of this host.

        Raises:
            socket.gaierror: the name cannot be resolved.
            RefusedAddressError: none of its addresses is permitted.
            NoIpv6Error: it has IPv6 addresses only, and this host has no IPv6.
        """
        try:
            found = await self._book.addresses(host, family)
        except asyncio.CancelledError as cancelled:
            cancelled.add_note(LOOKUP)
            raise
        name = host.rstrip(".").lower()
        permitted = [CheckedAddress(address) for address in found if self._guard.permits(address, name, port)]
        if not permitted:
            raise RefusedAddressError(f"{host} has no public address, and ALLOW_PRIVATE_TARGETS does not allow it")
        reachable = [address for address in permitted if ":" not in address or has_route(address)]
        if not reachable:
            raise NoIpv6Error(f"{host} has IPv6 addresses only, and the worker has no IPv6")
        return reachable

    def create_socket(self, info: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
        """The socket factory of aiohttp, which bypasses the resolver if the URL contains an IP address.

        Raises:
            RefusedAddressError: the address is not permitted.
            NoIpv6Error: it is an IPv6 address, and this host has no IPv6.
        """
        family, kind, protocol, _, (address, port, *_) = info
        if not isinstance(address, CheckedAddress):
            literal = str(address)
            if not self._guard.permits(literal, literal, int(str(port))):
                raise RefusedAddressError(f"{literal} is not public, and ALLOW_PRIVATE_TARGETS does not allow it")
            if ":" in literal and not has_route(literal):
                raise NoIpv6Error(f"{literal} is an IPv6 address, and the worker has no IPv6")
        return socket.socket(family, kind, protocol)

    async def close(self) -> None:
        """Nothing to close: lookups end with those who wait for them."""
