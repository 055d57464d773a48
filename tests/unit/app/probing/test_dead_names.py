"""Names whose servers do not answer, beside others that are healthy."""

import asyncio
import socket
import time

import pytest

from netmon.models import Plan
from netmon.probing import Prober, name_server
from netmon.probing.addresses import AddressBook
from tests.unit.app.probing import servers
from tests.unit.app.probing.probes import ENDED, EVERYWHERE
from tests.unit.app.probing.servers import answers, server
from tests.unit.app.probing.zones import Zone, book, error

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("ipv6")]


async def test_a_hundred_dead_names_do_not_delay_a_healthy_one() -> None:
    zone = Zone().add("healthy.example.", "127.0.0.1")
    zone.silent |= {f"dead{number}.example." for number in range(100)}
    async with server(answers()) as url, servers.name_server(zone) as name_port:
        port = int(url.rstrip("/").rpartition(":")[2])
        with servers.system_names(name_port) as names:
            async with Prober(EVERYWHERE, "test", names=names) as prober, asyncio.timeout(ENDED):

                async def connect(host: str) -> tuple[str, str | None]:
                    spec = {"kind": "tcp", "host": host, "port": port}
                    outcome = await prober.probe(Plan.model_validate({"spec": spec, "timeout_seconds": 3}))
                    return outcome.error or outcome.status, outcome.detail

                *dead, healthy = await asyncio.gather(
                    *(connect(name.rstrip(".")) for name in sorted(zone.silent)), connect("healthy.example")
                )
    assert set(dead) == {("timeout", "the name server did not answer within 3 s")}
    assert healthy == ("succeeded", None)


@pytest.mark.parametrize(
    "spec", [{"kind": "http", "url": "http://dead.example/"}, {"kind": "ping", "host": "dead.example"}]
)
async def test_a_timeout_of_the_lookup_is_explained(spec: dict[str, str]) -> None:
    zone = Zone()
    zone.silent.add("dead.example.")
    async with servers.name_server(zone) as port:
        with servers.system_names(port) as names:
            async with Prober(EVERYWHERE, "test", names=names) as prober:
                outcome = await prober.probe(Plan.model_validate({"spec": spec, "timeout_seconds": 0.2}))
    assert (outcome.error, outcome.detail) == ("timeout", "the name server did not answer within 0.2 s")


@pytest.mark.usefixtures("ipv4_only")
async def test_dead_names_leave_the_questions_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many names are dead: those that were not answered have a limit of their own."""
    monkeypatch.setattr(name_server, "MAX_QUESTIONS", 4)
    monkeypatch.setattr(name_server, "MAX_DOUBTFUL", 2)
    monkeypatch.setattr(name_server, "RETRANSMISSIONS_SECONDS", (0.02, 5))
    zone = Zone().add("healthy.example.", "192.0.2.1")
    zone.silent |= {f"dead{number}.example." for number in range(8)}
    async with book(zone) as names:

        async def give_up(name: str, seconds: float) -> None:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(names.addresses(name.rstrip(".")), seconds)

        for _ in range(2):  # in two turns: at first nothing is known of them
            await asyncio.gather(*(give_up(name, 0.1) for name in sorted(zone.silent)))
        dead = asyncio.gather(*(give_up(name, 0.5) for name in sorted(zone.silent)))
        await asyncio.sleep(0.05)
        assert await asyncio.wait_for(names.addresses("healthy.example"), 0.3) == ["192.0.2.1"]
        await dead
        zone.add("dead0.example.", "192.0.2.2").silent.clear()
        assert await names.addresses("dead0.example") == ["192.0.2.2"]
        [server] = names._servers
        assert sorted(map(str, server._silent)) == [f"dead{number}.example." for number in range(1, 8)]


@pytest.mark.usefixtures("ipv4_only")
async def test_healthy_names_are_found_beside_five_hundred_dead_ones() -> None:
    """Also at first, when nothing is known of the dead ones, which are all asked for before."""
    zone = Zone(ttl=0)
    zone.silent |= {f"dead{number}.example." for number in range(500)}
    healthy = {f"healthy{number}.example": f"192.0.2.{number}" for number in range(20)}
    for name, address in healthy.items():
        zone.add(f"{name}.", address)
    timeout_seconds = 5

    async def give_up(name: str) -> None:
        with pytest.raises((TimeoutError, socket.gaierror)):
            await asyncio.wait_for(names.addresses(name), timeout_seconds)

    async def healthy_ones() -> tuple[dict[str, list[str]], float]:
        started = time.perf_counter()
        lookups = (asyncio.wait_for(names.addresses(name), timeout_seconds) for name in healthy)
        found = await asyncio.gather(*lookups)
        return dict(zip(healthy, found, strict=True)), time.perf_counter() - started

    async with book(zone) as names:
        dead = [asyncio.ensure_future(give_up(name)) for name in sorted(zone.silent)]
        found, _ = await healthy_ones()
        assert found == {name: [address] for name, address in healthy.items()}
        await asyncio.sleep(name_server.PLACE_SECONDS)
        found, seconds = await healthy_ones()
        assert found == {name: [address] for name, address in healthy.items()}
        assert seconds < name_server.PLACE_SECONDS  # known by then, the dead ones share other places
        await asyncio.gather(*dead)


@pytest.mark.usefixtures("ipv4_only")
async def test_questions_without_an_answer_are_sent_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the resolver of the engine takes would be lost, those for healthy names too."""
    monkeypatch.setattr(name_server, "MAX_QUESTIONS", 8)
    monkeypatch.setattr(name_server, "MAX_DOUBTFUL", 2)
    monkeypatch.setattr(name_server, "PLACE_SECONDS", 0.1)
    monkeypatch.setattr(name_server, "RETRANSMISSIONS_SECONDS", (0.1, 0.1, 0.1))
    zone = Zone()
    zone.silent |= {f"dead{number}.example." for number in range(16)}
    started = time.perf_counter()
    async with book(zone) as names:
        await asyncio.gather(*(names.addresses(name) for name in zone.silent), return_exceptions=True)
    assert len(zone.questions) == 16 * 3
    assert {name for name, _ in zone.questions[:20]} == zone.silent  # repetitions do not delay the first questions
    assert time.perf_counter() - started >= (16 * 2 / 2) * 0.1  # the repetitions, two at a time


@pytest.mark.usefixtures("ipv4_only")
async def test_an_answer_counts_while_its_question_waits_to_be_repeated(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(name_server, "MAX_DOUBTFUL", 0)
    zone = Zone().add("slow.example.", "192.0.2.1")
    async with servers.name_server(zone, delay_seconds=0.2) as port:
        with servers.system_names(port) as names:
            assert await asyncio.wait_for(AddressBook(names).addresses("slow.example"), 1) == ["192.0.2.1"]
    assert len(zone.questions) == 1


@pytest.mark.usefixtures("ipv4_only")
async def test_the_dead_names_that_are_remembered_are_limited(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_server, "MAX_SILENT", 3)
    zone = Zone()
    zone.silent |= {f"dead{number}.example." for number in range(5)}
    async with book(zone) as names:
        for name in sorted(zone.silent):
            assert await error(names.addresses(name)) == socket.EAI_AGAIN
        [server] = names._servers
        assert sorted(map(str, server._silent)) == [f"dead{number}.example." for number in range(2, 5)]
