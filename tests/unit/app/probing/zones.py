"""Name servers on the loopback interface that answer from records."""

import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from netmon.probing.addresses import AddressBook
from tests.unit.app.probing import servers
from tests.unit.app.probing.servers import Reply

SOA = "ns.example. host.example. 1 3600 600 86400 30"


class Zone:
    """Replies from records, and remembers the questions.

    Attributes:
        silent: names whose questions are not answered.
        failing: names whose questions are answered with SERVFAIL.
    """

    def __init__(self, ttl: int = 60) -> None:
        self.ttl = ttl
        self.records: dict[tuple[str, str], list[str]] = {}
        self.aliases: dict[str, str] = {}
        self.questions: list[tuple[str, str]] = []
        self.silent: set[str] = set()
        self.failing: set[str] = set()

    def add(self, name: str, *values: str) -> "Zone":
        for value in values:
            self.records.setdefault((name, "AAAA" if ":" in value else "A"), []).append(value)
        return self

    def __call__(self, query: dns.message.Message) -> bytes | None:
        message = self.message(query)
        return None if message is None else message.to_wire()

    def message(self, query: dns.message.Message) -> dns.message.Message | None:
        name, kind = str(query.question[0].name), dns.rdatatype.to_text(query.question[0].rdtype)
        self.questions.append((name, kind))
        if name in self.silent:
            return None
        answer = dns.message.make_response(query)
        if name in self.failing:
            answer.set_rcode(dns.rcode.SERVFAIL)
            return answer
        for _ in range(5):
            if name not in self.aliases:
                break
            answer.answer.append(dns.rrset.from_text(name, self.ttl, "IN", "CNAME", self.aliases[name]))
            name = self.aliases[name]
        if values := self.records.get((name, kind)):
            answer.answer.append(dns.rrset.from_text(name, self.ttl, "IN", kind, *values))
        else:
            answer.authority.append(dns.rrset.from_text("example.", 3600, "IN", "SOA", SOA))
            if name not in {known for known, _ in self.records}:
                answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer


@asynccontextmanager
async def book(reply: Reply, tcp_reply: Reply | None = None, hosts: str = "") -> AsyncIterator[AddressBook]:
    async with servers.name_server(reply, tcp_reply) as port:
        with servers.system_names(port, hosts=hosts) as names:
            yield AddressBook(names)


async def error(lookup: Awaitable[list[str]]) -> int | None:
    with pytest.raises(socket.gaierror) as raised:
        await lookup
    return raised.value.errno
