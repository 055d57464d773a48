"""Name resolution, restricted to addresses that the guard permits."""

import asyncio

from netmon.guard import Guard, RefusedAddressError
from netmon.probing.addresses import AddressBook
from netmon.probing.errors import LOOKUP, NoIpv6Error
from netmon.probing.routes import has_route
from netmon.probing.system_names import SystemNames


class Resolver:
    """The addresses of names without those that the guard refuses."""

    def __init__(self, guard: Guard, system: SystemNames) -> None:
        self._guard = guard
        self._book = AddressBook(system)

    async def addresses(self, host: str, port: int | None = None, *, vouched: bool = False) -> list[str]:
        """The addresses of `host` that a connection may be made to, in the order in which to try them (RFC 8305).

        `host` is a name, which is complete, or an IP address. Each address is permitted by the guard and, if it is an
        IPv6 address, within reach of this host. A host of this platform's own settings is `vouched` for.

        Raises:
            socket.gaierror: the name cannot be resolved.
            RefusedAddressError: none of its addresses is permitted.
            NoIpv6Error: it has IPv6 addresses only, and this host has no IPv6.
        """
        try:
            found = await self._book.addresses(host)
        except asyncio.CancelledError as cancelled:
            cancelled.add_note(LOOKUP)
            raise
        name = host.rstrip(".").lower()
        permitted = [address for address in found if vouched or self._guard.permits(address, name, port)]
        if not permitted:
            raise RefusedAddressError(f"{host} has no public address, and ALLOW_PRIVATE_TARGETS does not allow it")
        reachable = [address for address in permitted if ":" not in address or has_route(address)]
        if not reachable:
            raise NoIpv6Error(f"{host} has IPv6 addresses only, and the worker has no IPv6")
        return reachable
