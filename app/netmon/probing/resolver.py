"""Name resolution, restricted to addresses that the guard permits."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

from aiohttp.abc import AbstractResolver, ResolveResult

from netmon.guard import Guard, RefusedAddressError

THREADS = 64
"""A lookup that hangs blocks its thread until the C library gives up; this many do not delay other lookups."""


class CheckedAddress(str):
    """An address that the guard permits; aiohttp passes it to the socket factory unchanged."""

    __slots__ = ()


class Resolver(AbstractResolver):
    """The system resolver without the addresses that the guard refuses."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="resolve")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The permitted addresses of `host` in the order of the system resolver, in the format of aiohttp.

        Raises:
            OSError: the name cannot be resolved.
            RefusedAddressError: none of its addresses is permitted.
        """
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)
            for address in await self.addresses(host, port, family)
        ]

    async def addresses(
        self, host: str, port: int | None = None, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[CheckedAddress]:
        """The permitted addresses of `host` as strings; raises the same errors as `resolve`."""
        found = await self._lookup(host, family)
        name = host.rstrip(".").lower()
        permitted = [CheckedAddress(address) for address in found if self._guard.permits(address, name, port)]
        if not permitted:
            raise RefusedAddressError(f"{host} has no public address, and ALLOW_PRIVATE_TARGETS does not allow it")
        return permitted

    async def _lookup(self, host: str, family: socket.AddressFamily) -> list[str]:
        try:
            ip_address(host)
        except ValueError:
            pass
        else:
            return [host]
        try:
            # AI_ADDRCONFIG: only address families that are configured on this host.
            found = await asyncio.get_running_loop().run_in_executor(
                self._threads, socket.getaddrinfo, host, None, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG
            )
        except UnicodeError:
            raise socket.gaierror(socket.EAI_NONAME, "not a valid host name") from None
        return [str(address[0]) for *_, address in found]

    def create_socket(self, info: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
        """The socket factory of aiohttp, which bypasses the resolver if the URL contains an IP address.

        Raises:
            RefusedAddressError: the address is not permitted.
        """
        family, kind, protocol, _, (address, port, *_) = info
        if not isinstance(address, CheckedAddress):
            literal = str(address)
            if not self._guard.permits(literal, literal, int(str(port))):
                raise RefusedAddressError(f"{literal} is not public, and ALLOW_PRIVATE_TARGETS does not allow it")
        return socket.socket(family, kind, protocol)

    async def close(self) -> None:
        """Cancel pending lookups and start no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
