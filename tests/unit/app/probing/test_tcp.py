"""TCP probes and their name lookups."""

import asyncio
import socket
import threading
from typing import Any

import pytest

from netmon.models import Outcome, Plan
from netmon.probing import Prober
from tests.unit.app.probing.probes import ENDED, EVERYWHERE, carry_out
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


async def test_hanging_lookups_time_out_without_delaying_others(monkeypatch: pytest.MonkeyPatch) -> None:
    lookup, answered = socket.getaddrinfo, threading.Event()

    def slow(host: str, *arguments: Any) -> Any:
        if host == "slow.example":
            answered.wait(ENDED)
        return lookup("127.0.0.1", *arguments)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    async with server(answers()) as url, Prober(EVERYWHERE, "test") as prober:
        port = int(url.rstrip("/").rpartition(":")[2])

        async def connect(host: str, timeout: float) -> Outcome:
            spec = {"kind": "tcp", "host": host, "port": port}
            return await prober.probe(Plan.model_validate({"spec": spec, "timeout_seconds": timeout}))

        *hanging, fine = await asyncio.gather(
            *(connect("slow.example", 0.2) for _ in range(20)), connect("quick.example", 5)
        )
        answered.set()
    assert {outcome.error for outcome in hanging} == {"timeout"}
    assert fine.status == "succeeded"
