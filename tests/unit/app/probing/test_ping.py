"""Pings of this host, and of a socket pair."""

import asyncio
import errno
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, ClassVar

import pytest

from netmon.models import Outcome, Plan
from netmon.probing import ping
from netmon.probing.attempt import Attempt
from netmon.probing.errors import PingNotPermittedError
from netmon.specs import PingSpec
from tests.unit.app.probing.probes import ENDED, carry_out

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_a_ping_of_this_host_succeeds(host: str) -> None:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP).close()
    except PermissionError:
        pytest.skip("this host's net.ipv4.ping_group_range leaves this group out; containers have another one")
    assert (await carry_out(Plan.model_validate({"spec": {"kind": "ping", "host": host}}))).status == "succeeded"


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The other end of the ICMP socket."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setblocking(False)
    far.setblocking(False)
    monkeypatch.setattr(ping, "_connected", lambda _address: near)
    monkeypatch.setattr(ping, "_TYPES", {socket.AF_UNIX: (8, 0)})
    with near, far:
        yield far


@pytest.mark.parametrize("fault", ["", "another type", "another token", "too short"])
async def test_a_reply_that_does_not_match_the_request_is_ignored(wire: socket.socket, fault: str) -> None:
    async def reply() -> None:
        request = await asyncio.get_running_loop().sock_recv(wire, 100)
        assert request[:8] == bytes([8, 0, 0, 0, 0, 0, 0, 1])
        answers = {
            "": b"\0" + request[1:],
            "another type": b"\3" + request[1:],
            "another token": b"\0" + request[1:8] + bytes(16),
            "too short": b"",
        }
        wire.send(answers[fault])

    plan = Plan.model_validate({"spec": {"kind": "ping", "host": "127.0.0.1"}, "timeout_seconds": 0.2 if fault else 5})
    outcome, _ = await asyncio.gather(carry_out(plan), reply())
    assert outcome.error == ("timeout" if fault else None)


def test_a_missing_permission_for_icmp_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", forbidden)
        with pytest.raises(PingNotPermittedError, match="ping_group_range"):
            ping._connected("127.0.0.1")


class Addresses:
    """A resolver that finds these addresses."""

    def __init__(self, *found: str) -> None:
        self.found = found

    async def addresses(self, _host: str) -> list[str]:
        return list(self.found)


@pytest.fixture
def echoes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were pinged: 192.0.2.1 never replies, 192.0.2.2 is unreachable, others reply."""
    pinged: list[str] = []

    class Echo:
        round_trips: ClassVar[list[float]] = [1.0]

        def __init__(self, address: str, *_: object) -> None:
            self.address = address

        async def start(self) -> None:
            pinged.append(self.address)
            if self.address == "192.0.2.1":
                await asyncio.sleep(ENDED)
            if self.address == "192.0.2.2":
                raise OSError(errno.EHOSTUNREACH, "unreachable")

        async def end(self, _deadline: float) -> None:
            pass

        def close(self) -> None:
            pass

    monkeypatch.setattr(ping, "_Series", Echo)
    return pinged


@pytest.mark.parametrize("dead", [["192.0.2.1"], ["192.0.2.2"], ["192.0.2.1", "192.0.2.2"]])
async def test_the_next_address_of_a_name_is_pinged_if_the_first_is_dead(echoes: list[str], dead: list[str]) -> None:
    resolver: Any = Addresses(*dead, "192.0.2.3", "192.0.2.4")
    async with asyncio.timeout(5):
        await ping.probe(PingSpec(host="a.example"), Attempt(5), resolver)
    assert echoes == [*dead, "192.0.2.3"]


async def test_the_first_address_that_replies_is_enough(echoes: list[str]) -> None:
    resolver: Any = Addresses("192.0.2.3", "192.0.2.4")
    await ping.probe(PingSpec(host="a.example"), Attempt(5), resolver)
    assert echoes == ["192.0.2.3"]


async def test_the_failure_of_all_addresses_is_reported(echoes: list[str]) -> None:
    resolver: Any = Addresses("192.0.2.2", "192.0.2.2")
    with pytest.raises(OSError, match="unreachable"):
        await ping.probe(PingSpec(host="a.example"), Attempt(5), resolver)


async def test_a_missing_permission_is_a_failure_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket

    def forbidden(family: int = -1, kind: int = -1, protocol: int = -1, fileno: int | None = None) -> socket.socket:
        if protocol in (socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6):
            raise PermissionError
        return connect(family, kind, protocol, fileno)

    monkeypatch.setattr(socket, "socket", forbidden)
    plan = Plan.model_validate({"spec": {"kind": "ping", "host": "127.0.0.1"}, "retries": 2})
    outcome = await carry_out(plan)
    assert (outcome.error, outcome.attempts) == ("ping_not_permitted", 1)
    assert "net.ipv4.ping_group_range" in (outcome.detail or "")


@pytest.fixture
def answering(wire: socket.socket) -> Callable[[Mapping[int, float]], asyncio.Task[None]]:
    """Answers requests by their number, after some seconds each; others are lost."""

    def send(reply: bytes) -> None:
        with suppress(OSError):
            wire.send(reply)

    async def answer(delays: Mapping[int, float]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            request = await loop.sock_recv(wire, 100)
            delay = delays.get(int.from_bytes(request[6:8], "big"))
            if delay is not None:
                loop.call_later(delay, send, b"\0" + request[1:])
                loop.call_later(delay + 0.15, send, b"\0" + request[1:])  # a duplicate does not count

    return lambda delays: asyncio.ensure_future(answer(delays))


async def series(task: "asyncio.Task[None]", timeout: float = 2, **settings: Any) -> Outcome:
    spec = {"kind": "ping", "host": "127.0.0.1", **settings}
    try:
        return await carry_out(Plan.model_validate({"spec": spec, "timeout_seconds": timeout}))
    finally:
        task.cancel()


Answering = Callable[[Mapping[int, float]], "asyncio.Task[None]"]


async def test_several_packets_have_a_loss_and_a_jitter(answering: Answering) -> None:
    outcome = await series(answering({1: 0.01, 2: 0.11, 3: 0.01, 4: 0.11}), packets=4)
    assert (outcome.status, outcome.loss_percent) == ("succeeded", 0)
    assert outcome.jitter_ms == pytest.approx(100, abs=30)
    assert outcome.duration_ms == pytest.approx(60, abs=30)


async def test_a_single_packet_has_neither(answering: Answering) -> None:
    outcome = await series(answering({1: 0.05}))
    assert (outcome.loss_percent, outcome.jitter_ms) == (None, None)
    assert 45 < outcome.duration_ms < 200


@pytest.mark.parametrize(("limit", "error"), [(50, None), (49, "loss"), (0, "loss")])
async def test_the_loss_is_limited(answering: Answering, limit: float, error: str | None) -> None:
    outcome = await series(answering({2: 0, 4: 0}), timeout=1, packets=4, maximum_loss_percent=limit)
    assert outcome.error == error
    assert outcome.loss_percent == 50
    if error:
        assert outcome.detail == f"2 of 4 packets were lost (50 %), expected at most {limit} %"


@pytest.mark.parametrize(("limit", "error"), [(200, None), (20, "jitter")])
async def test_the_jitter_is_limited(answering: Answering, limit: float, error: str | None) -> None:
    outcome = await series(answering({1: 0.01, 2: 0.11}), packets=2, maximum_jitter_ms=limit)
    assert outcome.error == error
    if error:
        assert re.fullmatch(r"the jitter is [0-9.]+ ms, expected at most 20 ms", outcome.detail or "")


async def test_a_lost_series_is_a_timeout(answering: Answering) -> None:
    outcome = await series(answering({}), timeout=0.3, packets=3, maximum_loss_percent=99)
    assert (outcome.error, outcome.detail) == ("timeout", "no complete response within 0.3 s")


async def test_a_slow_series_is_a_warning(answering: Answering) -> None:
    task = answering({1: 0.05, 2: 0.05})
    plan = Plan.model_validate({"spec": {"kind": "ping", "host": "127.0.0.1", "packets": 2}, "slow_ms": 20})
    assert (await carry_out(plan)).warning == "slow"
    task.cancel()
