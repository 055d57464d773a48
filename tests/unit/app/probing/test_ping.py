"""Pings of this host, and of a socket pair."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from netmon.models import Plan
from netmon.probing import ping
from netmon.probing.errors import PingNotPermittedError
from tests.unit.app.probing.probes import carry_out

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
