"""The addresses of names: of the host's table and of name servers, whose answers are kept as long as they are valid."""

import asyncio
import socket
import time
from collections import OrderedDict
from dataclasses import dataclass
from itertools import chain, zip_longest

import dns.exception
import dns.rdatatype
import dns.resolver

from netmon.guard import is_public
from netmon.hostnames import literal_address, to_ascii
from netmon.probing import name_client
from netmon.probing.name_client import Answer
from netmon.probing.routes import has_ipv6
from netmon.probing.system_names import SystemNames

MAX_KEPT = 10_000
"""Answers that are kept; the least recently used ones are dropped."""
MAX_TTL = 300
"""Seconds for which addresses are kept at most."""
MAX_NEGATIVE_TTL = 60
"""Seconds for which it is kept at most that a name has no address."""
MAX_LOCAL_TTL = 1
"""The same for names without a dot and private addresses: the engine changes those of containers at any time."""
RESOLUTION_DELAY_SECONDS = 0.05
"""How long the IPv6 addresses are awaited after the IPv4 addresses (RFC 8305)."""

_A, _AAAA = dns.rdatatype.A, dns.rdatatype.AAAA
_LOOPBACK = ("::1", "127.0.0.1")

_Key = tuple[str, dns.rdatatype.RdataType]


@dataclass(slots=True)
class _Lookup:
    task: "asyncio.Task[Answer]"
    waiting: int = 0


class AddressBook:
    """Looks up addresses; what several ask for at the same time is asked once."""

    def __init__(self, system: SystemNames) -> None:
        self._system = system
        self._servers = system.servers()
        self._kept: OrderedDict[_Key, tuple[float, Answer]] = OrderedDict()
        self._lookups: dict[_Key, _Lookup] = {}

    async def addresses(self, host: str) -> list[str]:
        """The addresses of a host, both families in turn, IPv6 first; an IP address in any notation is its own.

        Raises:
            socket.gaierror: the name does not exist, has no address, or cannot be looked up.
        """
        if address := literal_address(host):
            return [address]
        name = _name(host)
        found = self._system.table().get(name)
        if found is None and (name == "localhost" or name.endswith(".localhost")):
            found = _LOOPBACK  # RFC 6761
        return list(found) if found else await self._resolved(name)

    async def _resolved(self, name: str) -> list[str]:
        try:
            if has_ipv6():
                v4, v6 = await self._of_both_families(name)
            else:
                v4 = await self._records(name, _A)
                v6 = [] if v4 else await self._records(name, _AAAA)
        except dns.exception.Timeout:
            raise socket.gaierror(socket.EAI_AGAIN, "the name server does not answer") from None
        except dns.exception.DNSException as error:
            raise socket.gaierror(socket.EAI_FAIL, "the name server reports a failure") from error
        if not (v4 or v6):
            raise socket.gaierror(socket.EAI_NODATA, "the name has no address")
        return [address for address in chain.from_iterable(zip_longest(v6, v4)) if address]

    async def _of_both_families(self, name: str) -> tuple[list[str], list[str]]:
        ipv6 = asyncio.ensure_future(self._records(name, _AAAA))
        try:
            try:
                v4 = await self._records(name, _A)
            except dns.exception.DNSException:
                v4 = []
                v6 = await ipv6
                if not v6:
                    raise
                return v4, v6
            if not v4:
                return v4, await ipv6
            await asyncio.wait({ipv6}, timeout=RESOLUTION_DELAY_SECONDS)
            # A name server that fails for IPv6 only does not matter.
            return v4, ipv6.result() if ipv6.done() and not ipv6.exception() else []
        finally:
            ipv6.cancel()
            # Not awaited itself: its cancellation and one of this lookup, by a timeout, would look the same.
            await asyncio.gather(ipv6, return_exceptions=True)

    async def _records(self, name: str, record: dns.rdatatype.RdataType) -> list[str]:
        answer = await self._answer((name, record))
        if not answer.exists:
            raise socket.gaierror(socket.EAI_NONAME, "the name does not exist")
        return [str(each) for each in answer.records]

    async def _answer(self, key: _Key) -> Answer:
        servers = self._system.servers()
        if servers is not self._servers:
            self._servers = servers
            self._kept.clear()
        if kept := self._kept.get(key):
            expiry, answer = kept
            if time.monotonic() < expiry:
                self._kept.move_to_end(key)
                return answer
            del self._kept[key]
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = self._lookups[key] = _Lookup(asyncio.ensure_future(self._ask(key)))
        lookup.waiting += 1
        try:
            return await asyncio.shield(lookup.task)
        finally:
            lookup.waiting -= 1
            if not lookup.waiting:
                if self._lookups.get(key) is lookup:
                    del self._lookups[key]
                lookup.task.cancel()

    async def _ask(self, key: _Key) -> Answer:
        answer = await name_client.ask(self._servers, *key)
        self._keep(key, answer)
        return answer

    def _keep(self, key: _Key, answer: Answer) -> None:
        ttl = min(answer.ttl, MAX_TTL if answer.records else MAX_NEGATIVE_TTL)
        if "." not in key[0] or not all(is_public(str(each)) for each in answer.records):
            ttl = min(ttl, MAX_LOCAL_TTL)
        if ttl > 0:
            self._kept[key] = time.monotonic() + ttl, answer
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)


def _name(host: str) -> str:
    try:
        return to_ascii(host)
    except ValueError:
        raise socket.gaierror(socket.EAI_NONAME, "not a valid host name") from None
