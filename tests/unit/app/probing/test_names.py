"""Lookups of names, at name servers on the loopback interface."""

import asyncio
import errno
import socket
import time
from collections.abc import Callable
from ipaddress import ip_address
from types import SimpleNamespace

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon import guard
from netmon.guard import Guard
from netmon.models import Plan
from netmon.probing import Prober, addresses, name_server, routes, system_names
from netmon.probing.addresses import AddressBook
from netmon.probing.errors import NoIpv6Error
from netmon.probing.resolver import Resolver
from tests.unit.app.probing import servers
from tests.unit.app.probing.probes import EVERYWHERE
from tests.unit.app.probing.servers import Reply
from tests.unit.app.probing.zones import Zone, book, error
from tests.unit.app.properties import PROPERTY

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("ipv6")]

PUBLIC = "93.184.216.34"


WORDS = st.sampled_from(
    ["nameserver", "search", "#", "127.0.0.1", "::1", "fe80::1%eth9", "fe80::1%", "256.1.1.1", "a.Example.", "options"]
)
LINES = st.lists(WORDS | st.text(max_size=5), max_size=5).map(" ".join)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock by which answers are kept: `clock.now` in seconds."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(addresses, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


async def test_the_families_take_turns_and_ipv6_comes_first() -> None:
    async with book(Zone().add("a.example.", "192.0.2.1", "192.0.2.2", "2001:db8::1")) as names:
        first, *others = await names.addresses("A.example.")
        assert (first, set(others)) == ("2001:db8::1", {"192.0.2.1", "192.0.2.2"})


async def test_a_host_without_ipv6_asks_for_it_only_if_there_is_no_other(ipv6: Callable[[bool], None]) -> None:
    ipv6(False)
    zone = Zone().add("a.example.", "192.0.2.1", "2001:db8::1").add("only6.example.", "2001:db8::1")
    async with book(zone) as names:
        assert await names.addresses("a.example") == ["192.0.2.1"]
        assert zone.questions == [("a.example.", "A")]
        assert await names.addresses("only6.example") == ["2001:db8::1"]


async def test_names_with_ipv6_only_are_a_failure_of_their_own_without_it(ipv6: Callable[[bool], None]) -> None:
    async with servers.name_server(Zone().add("only6.example.", "2001:db8::1")) as port:
        with servers.system_names(port) as names:
            assert await Resolver(EVERYWHERE, names).addresses("only6.example") == ["2001:db8::1"]
            ipv6(False)
            for host in ("only6.example", "2001:db8::1"):
                with pytest.raises(NoIpv6Error):
                    await Resolver(EVERYWHERE, names).addresses(host)
                url = f"http://[{host}]/" if ":" in host else f"http://{host}/"
                for spec in (
                    {"kind": "tcp", "host": host, "port": 1},
                    {"kind": "ping", "host": host},
                    {"kind": "http", "url": url},
                ):
                    async with Prober(EVERYWHERE, "test", names=names) as prober:
                        outcome = await prober.probe(Plan.model_validate({"spec": spec, "retries": 1}))
                    assert (outcome.error, outcome.attempts) == ("no_ipv6", 1)


async def test_a_name_server_that_ignores_questions_for_ipv6_costs_little() -> None:
    zone = Zone().add("a.example.", "192.0.2.1")

    def reply(query: dns.message.Message) -> bytes | None:
        return zone(query) if query.question[0].rdtype == dns.rdatatype.A else None

    async with book(reply) as names:
        started = time.perf_counter()
        assert await names.addresses("a.example") == ["192.0.2.1"]
        assert time.perf_counter() - started < 0.4


async def test_a_lost_packet_is_sent_again(quick: None) -> None:
    zone, lost = Zone().add("a.example.", "192.0.2.1"), list[bytes]()

    def reply(query: dns.message.Message) -> bytes | None:
        answer = zone(query)
        if answer and len(lost) < 2:
            lost.append(answer)
            return None
        return answer

    async with book(reply) as names:
        assert await names.addresses("a.example") == ["192.0.2.1"]
    assert len(lost) == 2


@pytest.mark.parametrize("cut", [12, 40, 512])
async def test_a_truncated_answer_is_asked_for_over_tcp(cut: int) -> None:
    zone = Zone().add("a.example.", *(f"192.0.2.{number}" for number in range(100)))

    def truncated(query: dns.message.Message) -> bytes:
        answer = bytearray(zone(query) or b"")
        answer[2] |= 2  # TC
        return bytes(answer[:cut])

    async with book(truncated, zone) as names:
        assert len(await names.addresses("a.example")) == 100


@pytest.mark.parametrize("tcp", [None, lambda _: b"", lambda query: query.to_wire()[:5], lambda query: query.to_wire()])
async def test_a_truncated_answer_without_a_valid_one_over_tcp_is_a_failure(tcp: Reply | None) -> None:
    def truncated(query: dns.message.Message) -> bytes:
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.TC
        return answer.to_wire()

    async with book(truncated, tcp) as names:
        assert await error(names.addresses("a.example")) == socket.EAI_FAIL


async def test_failures_have_their_own_numbers(quick: None) -> None:
    zone = Zone().add("a.example.", "192.0.2.1")
    zone.failing.add("failing.example.")
    zone.silent.add("silent.example.")
    zone.aliases |= {"loop1.example.": "loop2.example.", "loop2.example.": "loop1.example."}
    zone.records["text.example.", "TXT"] = ["a"]
    async with book(zone) as names:
        assert await error(names.addresses("gone.example")) == socket.EAI_NONAME
        assert await error(names.addresses("text.example")) == socket.EAI_NODATA
        assert await error(names.addresses("failing.example")) == socket.EAI_FAIL
        assert await error(names.addresses("loop1.example")) in (socket.EAI_FAIL, socket.EAI_NODATA)
        assert await error(names.addresses("silent.example")) == socket.EAI_AGAIN
        for invalid in ("", ".", "a..b", "-a", "a b", "a" * 64, "a." * 130):
            assert await error(names.addresses(invalid)) == socket.EAI_NONAME


async def test_aliases_are_followed() -> None:
    zone = Zone().add("c.example.", "192.0.2.1")
    zone.aliases |= {"a.example.": "b.example.", "b.example.": "c.example."}
    async with book(zone) as names:
        assert await names.addresses("a.example") == ["192.0.2.1"]


@pytest.mark.parametrize("first", ["silent", "failing", "absent"])
async def test_the_next_name_server_is_asked_if_the_first_fails(first: str) -> None:
    good, bad = Zone().add("a.example.", "192.0.2.1"), Zone()
    if first == "silent":
        bad.silent.add("a.example.")
    else:
        bad.failing.add("a.example.")
    async with servers.name_server(good, host="127.0.0.2") as port:
        with servers.system_names(port, "127.0.0.1", "127.0.0.2") as names:
            started = time.perf_counter()
            if first == "absent":
                assert await AddressBook(names).addresses("a.example") == ["192.0.2.1"]
            else:
                async with servers.name_server(bad, port=port):
                    assert await AddressBook(names).addresses("a.example") == ["192.0.2.1"]
                    assert bad.questions
            assert time.perf_counter() - started < 0.95


@pytest.mark.parametrize(
    ("ttl", "name", "address", "seconds"),
    [
        (60, "a.example", PUBLIC, 60),
        (100_000, "a.example", PUBLIC, addresses.MAX_TTL),
        (0, "a.example", PUBLIC, 0),
        # The engine answers with 600 s for the services of the stack.
        (600, "app", PUBLIC, 1),
        (600, "app.network", "172.20.0.5", 1),
        (600, "a.example", None, 30),  # the minimum of the zone
    ],
)
@pytest.mark.usefixtures("ipv4_only")
async def test_answers_are_kept_for_their_ttl(
    clock: SimpleNamespace, ttl: int, name: str, address: str | None, seconds: float
) -> None:
    zone = Zone(ttl).add(f"{name}.", *[address] if address else ())

    async def lookup(names: AddressBook) -> int:
        before = len(zone.questions)
        if address:
            assert await names.addresses(name) == [address]
        else:
            assert await error(names.addresses(name)) == socket.EAI_NONAME
        return len(zone.questions) - before

    async with book(zone) as names:
        assert await lookup(names) == 1
        clock.now += seconds - 0.5
        assert await lookup(names) == (1 if seconds == 0 else 0)
        clock.now += 0.5
        assert await lookup(names) == 1


async def test_failures_are_not_kept() -> None:
    zone = Zone().add("a.example.", "192.0.2.1")
    zone.failing.add("a.example.")
    async with book(zone) as names:
        assert await error(names.addresses("a.example")) == socket.EAI_FAIL
        zone.failing.clear()
        assert await names.addresses("a.example") == ["192.0.2.1"]


@pytest.mark.usefixtures("ipv4_only")
async def test_the_answers_that_are_kept_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "MAX_KEPT", 2)
    zone = Zone()
    async with book(zone) as names:
        for name in ("a.example", "b.example", "a.example", "c.example", "a.example", "b.example"):
            await error(names.addresses(name))
    assert [name for name, _ in zone.questions] == ["a.example.", "b.example.", "c.example.", "b.example."]


async def test_the_files_are_read_again_when_they_change(quick: None) -> None:
    first, second = Zone().add("a.example.", PUBLIC), Zone().add("a.example.", "93.184.216.35")
    async with servers.name_server(first) as port, servers.name_server(second, host="127.0.0.2", port=port):
        with servers.system_names(
            port, hosts="192.0.2.9 table.example Other # one\n::1 table.example\nbad x\n"
        ) as names:
            known = AddressBook(names)
            assert await known.addresses("a.example") == [PUBLIC]
            assert await known.addresses("TABLE.example") == ["192.0.2.9", "::1"]
            assert await known.addresses("other") == ["192.0.2.9"]
            assert await error(known.addresses("one")) == socket.EAI_NONAME
            names._servers._path.write_text("search example.org\nnameserver x\nnameserver 127.0.0.2\n")
            names._table._path.write_text("192.0.2.10 table.example\n")
            assert await known.addresses("a.example") == ["93.184.216.35"]
            assert await known.addresses("table.example") == ["192.0.2.10"]
            names._table._path.unlink()
            assert await error(known.addresses("table.example")) == socket.EAI_NONAME


async def test_search_domains_are_never_applied(quick: None) -> None:
    zone = Zone().add("gone.example.wild.example.", PUBLIC).add("db.wild.example.", PUBLIC)
    async with servers.name_server(zone) as port:
        with servers.system_names(port) as names:
            names._servers._path.write_text("nameserver 127.0.0.1\nsearch wild.example\noptions ndots:5\n")
            for name in ("gone.example", "db"):
                assert await error(AddressBook(names).addresses(name)) == socket.EAI_NONAME
    assert {name for name, _ in zone.questions} == {"gone.example.", "db."}


@pytest.mark.usefixtures("ipv4_only")
async def test_the_same_question_is_asked_once_at_a_time() -> None:
    zone = Zone(ttl=0).add("a.example.", "192.0.2.1")
    async with book(zone) as names:
        found = await asyncio.gather(*(names.addresses("a.example") for _ in range(20)))
    assert found == [["192.0.2.1"]] * 20
    assert len(zone.questions) == 1


@pytest.mark.usefixtures("ipv4_only")
async def test_one_that_gives_up_does_not_disturb_the_others() -> None:
    zone = Zone().add("a.example.", "192.0.2.1")

    def reply(query: dns.message.Message) -> bytes | None:
        answer = zone(query)
        return answer if len(zone.questions) > 1 else None  # the first packet is lost

    async with book(reply) as names:
        impatient = asyncio.ensure_future(names.addresses("a.example"))
        patient = asyncio.ensure_future(names.addresses("a.example"))
        await asyncio.sleep(0.05)
        impatient.cancel()
        assert await patient == ["192.0.2.1"]
        assert not names._lookups


async def test_a_lookup_can_be_cancelled_at_any_moment() -> None:
    """A cancellation that got lost would end the timeout of its probe."""
    zone = Zone(ttl=0).add("a.example.", "192.0.2.1")

    async def never(name: str, record: object) -> list[str]:
        return ["192.0.2.1"] if record == dns.rdatatype.A else await asyncio.Future()

    async with book(zone) as names:
        for steps in range(12):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(names, "_records", never)
                patch.setattr(addresses, "RESOLUTION_DELAY_SECONDS", 0)
                lookup = asyncio.ensure_future(names.addresses("a.example"))
                for _ in range(steps):
                    await asyncio.sleep(0)
                if not lookup.done():
                    lookup.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await lookup


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("192.0.2.1", ["192.0.2.1"]),
        ("2001:db8::1", ["2001:db8::1"]),
        ("127.1", ["127.0.0.1"]),
        ("0x7f000001", ["127.0.0.1"]),
        ("2130706433", ["127.0.0.1"]),
        ("localhost", ["::1", "127.0.0.1"]),
        ("LOCALHOST.", ["::1", "127.0.0.1"]),
        ("a.localhost", ["::1", "127.0.0.1"]),
    ],
)
async def test_no_name_server_is_asked_for_addresses_and_this_host(host: str, found: list[str]) -> None:
    zone = Zone()
    async with book(zone) as names:
        assert await names.addresses(host) == found
    assert not zone.questions


async def test_only_permitted_addresses_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "is_public", lambda address: address.startswith("93."))
    async with servers.name_server(Zone().add("a.example.", "10.0.0.1", PUBLIC, "fd00::1")) as port:
        with servers.system_names(port) as names:
            assert await Resolver(Guard(), names).addresses("a.example") == [PUBLIC]


@PROPERTY
@given(st.lists(LINES, max_size=6).map("\n".join))
def test_any_text_in_the_files_is_read(text: str) -> None:
    with servers.system_names(53) as names:
        names._servers._path.write_text(text)
        names._table._path.write_text(text)
        assert 1 <= len(names.servers()) <= system_names.MAX_SERVERS
        for name, found in names.table().items():
            assert name == name.lower()
            assert all(ip_address(address) for address in found)


@PROPERTY
@given(st.binary(max_size=200))
def test_any_packet_is_parsed_or_ignored(data: bytes) -> None:
    name_server._parsed(data)


@PROPERTY
@given(st.data())
def test_a_damaged_answer_is_parsed_or_ignored(data: st.DataObject) -> None:
    zone = Zone().add("a.example.", "192.0.2.1", "192.0.2.2")
    wire = bytearray(zone(dns.message.make_query("a.example.", "A")) or b"")
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(2, len(wire) - 1))] = data.draw(st.integers(0, 255))
    name_server._parsed(bytes(wire))


def test_routes_of_this_host() -> None:
    assert routes.has_route("127.0.0.1")


@pytest.mark.parametrize("number", [errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
def test_a_host_without_a_route_has_no_ipv6(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    class Unreachable(socket.socket):
        def connect(self, _address: object) -> None:
            raise OSError(number, "no route")

    monkeypatch.setattr(socket, "socket", Unreachable)
    assert not routes.has_ipv6()
