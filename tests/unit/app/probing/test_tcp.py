"""TCP probes and their name lookups."""

import asyncio
import errno
import socket
from typing import Any

import pytest

from netmon.models import Plan
from netmon.probing import connections
from netmon.probing.addresses import AddressBook
from tests.unit.app.probing.probes import ENDED, carry_out
from tests.unit.app.probing.servers import answers, server

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_tcp_connection_succeeds_until_the_port_is_closed(host: str) -> None:
    async with server(answers(), host=host) as url:
        port = int(url.rstrip("/").rpartition(":")[2])
        plan = Plan.model_validate({"spec": {"kind": "tcp", "host": host, "port": port}})
        assert (await carry_out(plan)).status == "succeeded"
    assert (await carry_out(plan)).error == "connect"


async def test_an_unknown_host_fails_with_a_dns_error() -> None:
    plan = Plan.model_validate({"spec": {"kind": "tcp", "host": "nowhere.invalid", "port": 80}})
    assert (await carry_out(plan)).error == "dns"


@pytest.mark.parametrize("dead", [["192.0.2.1"], ["192.0.2.2"], ["192.0.2.1", "192.0.2.2"]])
async def test_the_next_address_of_a_name_is_connected_to_if_the_first_is_dead(
    monkeypatch: pytest.MonkeyPatch, dead: list[str]
) -> None:
    connect, tried = connections._connect, list[str]()

    async def addresses(_book: AddressBook, *_: Any) -> list[str]:
        return [*dead, "127.0.0.1", "127.0.0.2"]

    async def through_the_network(address: str, port: int) -> socket.socket:
        tried.append(address)
        if address == "192.0.2.1":
            await asyncio.sleep(ENDED)
        if address == "192.0.2.2":
            raise OSError(errno.EHOSTUNREACH, "unreachable")
        return await connect(address, port)

    monkeypatch.setattr(AddressBook, "addresses", addresses)
    monkeypatch.setattr(connections, "_connect", through_the_network)
    async with server(answers()) as url:
        port = int(url.rstrip("/").rpartition(":")[2])
        plan = Plan.model_validate({"spec": {"kind": "tcp", "host": "a.example", "port": port}})
        assert (await carry_out(plan)).status == "succeeded"
        assert tried == [*dead, "127.0.0.1"]


async def test_the_failures_of_all_addresses_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    async def addresses(_book: AddressBook, *_: Any) -> list[str]:
        return ["192.0.2.1", "192.0.2.2"]

    async def fail(address: str, port: int) -> socket.socket:
        number = errno.EHOSTUNREACH if address == "192.0.2.1" else errno.ECONNREFUSED
        raise OSError(number, "failed")

    monkeypatch.setattr(AddressBook, "addresses", addresses)
    monkeypatch.setattr(connections, "_connect", fail)
    outcome = await carry_out(Plan.model_validate({"spec": {"kind": "tcp", "host": "a.example", "port": 1}}))
    assert (outcome.error, outcome.detail) == ("connect", "connection refused or the host is unreachable")
