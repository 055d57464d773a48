"""The guard in probes: no name, redirect or notation leads to a refused address."""

from ipaddress import ip_address
from typing import Any

import pytest

from netmon import guard
from netmon.guard import Guard
from netmon.models import Plan
from netmon.probing.addresses import AddressBook
from tests.unit.app.probing.probes import carry_out, probe
from tests.unit.app.probing.servers import OK, answers, redirects, server

pytestmark = pytest.mark.anyio


def names(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Let the resolver find these addresses, one list after another; returns the list of requested names."""
    requested: list[str] = []
    left = list(answers)

    lookup = AddressBook.addresses

    async def addresses(book: AddressBook, host: str) -> list[str]:
        if _is_address(host):
            return await lookup(book, host)
        requested.append(host)
        return left.pop(0) if len(left) > 1 else left[0]

    monkeypatch.setattr(AddressBook, "addresses", addresses)
    return requested


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "http", "url": "http://db:5432/"},
        {"kind": "http", "url": "https://db./"},
        {"kind": "http", "url": "http://app:3001/"},
        {"kind": "tcp", "host": "kafka", "port": 29092},
        {"kind": "tcp", "host": "rabbitmq", "port": 5672},
        {"kind": "tcp", "host": "rabbitmq", "port": 5672, "starttls": "smtp"},
        {"kind": "tls", "host": "db", "port": 5432},
        {"kind": "grpc", "host": "otel-collector", "port": 4317},
        {"kind": "grpc", "host": "otel-collector", "port": 4317, "tls": False, "authority": "example.org"},
        {"kind": "ping", "host": "redis"},
        {"kind": "ping", "host": "app"},
    ],
)
@pytest.mark.parametrize("address", ["172.20.0.5", "fd00::5", "::ffff:172.20.0.5"])
async def test_probes_cannot_reach_hosts_of_the_platform(
    monkeypatch: pytest.MonkeyPatch, spec: dict[str, Any], address: str
) -> None:
    names(monkeypatch, [address])
    outcome = await carry_out(Plan.model_validate({"spec": spec, "retries": 2}), Guard.parse("app:3000"))
    assert (outcome.error, outcome.attempts) == ("refused_address", 1)
    assert address not in (outcome.detail or "")


async def test_an_exception_permits_one_host_and_port(monkeypatch: pytest.MonkeyPatch) -> None:
    async with server(answers(OK)) as url:
        names(monkeypatch, ["127.0.0.1"])
        port = url.rstrip("/").rpartition(":")[2]
        allowed = Guard.parse(f"app:{port}")
        assert (await probe(f"http://app:{port}/", allowed=allowed)).status == "succeeded"
        assert (await probe(f"http://APP.:{port}/", allowed=allowed)).status == "succeeded"
        tcp = Plan.model_validate({"spec": {"kind": "tcp", "host": "app", "port": port}})
        assert (await carry_out(tcp, allowed)).status == "succeeded"
        assert (await probe(f"http://app2:{port}/", allowed=allowed)).error == "refused_address"
        assert (await probe(url, allowed=allowed)).error == "refused_address"


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "inside"])
async def test_a_redirect_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    reached: list[bytes] = []
    async with server(answers(OK), heads=reached) as inside:
        port = inside.rstrip("/").rpartition(":")[2]
        async with server(redirects(f"http://{host}:{port}/", 307)) as url:
            allowed = Guard.parse(url.split("/")[2])  # one exception, as in production
            if host == "inside":
                names(monkeypatch, ["127.0.0.1"])
            assert (await probe(url, allowed=allowed)).error == "refused_address"
    assert reached == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1", "0177.0.0.1", "0"])
async def test_other_notations_of_a_private_address_are_refused(host: str) -> None:
    reached: list[bytes] = []
    async with server(answers(OK), heads=reached) as inside:
        port = inside.rstrip("/").rpartition(":")[2]
        assert (await probe(f"http://{host}:{port}/", allowed=Guard())).error in {"protocol", "refused_address", "dns"}
    assert reached == []


async def test_dns_rebinding_does_not_bypass_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address that was checked is the one that is connected to; the name is not resolved again."""
    monkeypatch.setattr(guard, "is_public", lambda address: address == "127.0.0.2")
    async with server(answers(OK), host="127.0.0.2") as url:
        port = url.rstrip("/").rpartition(":")[2]
        requested = names(monkeypatch, ["127.0.0.2"], ["127.0.0.1"])
        assert (await probe(f"http://rebound.example:{port}/", allowed=Guard())).status == "succeeded"
        assert requested == ["rebound.example"]
        assert (await probe(f"http://rebound.example:{port}/", allowed=Guard())).error == "refused_address"


async def test_only_the_public_addresses_of_a_name_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "is_public", lambda address: address == "127.0.0.2")
    reached: list[bytes] = []
    async with server(answers(OK), heads=reached) as inside:
        port = inside.rstrip("/").rpartition(":")[2]
        names(monkeypatch, ["127.0.0.1", "127.0.0.2", "::1"])
        assert (await probe(f"http://mixed.example:{port}/", allowed=Guard())).error == "connect"
    assert reached == []
