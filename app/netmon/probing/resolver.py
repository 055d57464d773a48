"""From names to addresses that may be connected to."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

from aiohttp.abc import AbstractResolver, ResolveResult

from netmon.guard import Guard, RefusedAddressError

THREADS = 64
"""A lookup that hangs holds its thread until the C library gives up: so many of them hold nobody else up."""


class Vouched(str):
    """An address that the resolver has checked: aiohttp hands it on to whoever makes the socket."""

    __slots__ = ()


class Resolver(AbstractResolver):
    """The system's resolver, without what the guard refuses."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="resolve")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of `host` that may be connected to, in the system's order; as aiohttp wants them.

        Raises:
            OSError: it has none.
            RefusedAddressError: it has none that is allowed.
        """
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)
            for address in await self.addresses(host, port, family)
        ]

    async def addresses(
        self, host: str, port: int | None = None, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[Vouched]:
        """The same as bare addresses. Raises the same."""
        found = await self._lookup(host, family)
        name = host.rstrip(".").lower()
        permitted = [Vouched(address) for address in found if self._guard.permits(address, name, port)]
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
            # AI_ADDRCONFIG: no address of a family that this host cannot use.
            found = await asyncio.get_running_loop().run_in_executor(
                self._threads, socket.getaddrinfo, host, None, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG
            )
        except UnicodeError:
            raise socket.gaierror(socket.EAI_NONAME, "not the name of a host") from None
        return [str(address[0]) for *_, address in found]

    def socket_of(self, info: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
        """A socket for aiohttp, which asks no resolver about an address that stands in a URL.

        Raises:
            RefusedAddressError: it must not be connected to.
        """
        family, kind, protocol, _, (address, port, *_) = info
        if not isinstance(address, Vouched):
            literal = str(address)
            if not self._guard.permits(literal, literal, int(str(port))):
                raise RefusedAddressError(f"{literal} is not public, and ALLOW_PRIVATE_TARGETS does not allow it")
        return socket.socket(family, kind, protocol)

    async def close(self) -> None:
        """Start no further lookup."""
        self._threads.shutdown(wait=False, cancel_futures=True)
