"""The limit of requests for each client address, and whose X-Forwarded-For counts."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from netmon import client_address, client_limits, token_bucket, web
from netmon.client_address import ClientAddresses, TrustedProxies
from netmon.settings import SettingsError, load
from tests.unit.app.fake_api import is_problem

pytestmark = pytest.mark.anyio

PROXY, CLIENT, OTHER = "10.0.0.2", "192.0.2.1", "192.0.2.9"


class Clock:
    """The time, which the tests set."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (token_bucket, client_limits, client_address):
        monkeypatch.setattr(module, "time", clock)
    return clock


Get = Callable[..., Any]


@asynccontextmanager
async def served(environ: dict[str, str], **settings: str) -> AsyncIterator[Get]:
    """An application with a limit of one request a second; yields a function that requests a path from an address."""
    limits = {"CLIENT_REQUESTS_PER_SECOND": "1", "TRUSTED_PROXIES": PROXY, **settings}
    app = web.create_app(load({**environ, **limits}), "test")

    for path in ("/api/things", "/api/health/ready", "/api/healthy", "/api/heartbeats/known"):

        @app.get(path)
        async def answer() -> None: ...

    async def get(path: str, peer: str = PROXY, forwarded: str = "") -> httpx.Response:
        transport = httpx.ASGITransport(app=app, client=(peer, 1234))
        headers = [("X-Forwarded-For", value) for value in forwarded.split("|") if value]
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            return await client.get(path, headers=headers)

    yield get


async def exhausted(get: Get, path: str = "/api/things", **by: str) -> int:
    """The number of requests until the first one that is refused."""
    for number in range(30):
        if (await get(path, **by)).status_code == 429:
            return number
    return 30


def refused(kind: str) -> float:
    return REGISTRY.get_sample_value("netmon_limited_requests_total", {"limited": kind}) or 0


async def test_a_client_that_exceeds_its_rate_is_refused(environ: dict[str, str], clock: Clock) -> None:
    async with served(environ) as get:
        before = refused("requests")
        assert await exhausted(get, forwarded=CLIENT) == 10, "the burst"
        problem = is_problem(answer := await get("/api/things", forwarded=CLIENT), 429)
        assert answer.headers["retry-after"] == "1"
        assert "1 requests per second for each client" in problem["detail"]
        assert refused("requests") == before + 2
        assert (await get("/api/things", forwarded=OTHER)).status_code == 200
        clock.now += 3
        assert await exhausted(get, forwarded=CLIENT) == 3
        clock.now += 1000
        assert await exhausted(get, forwarded=CLIENT) == 10


@pytest.mark.usefixtures("clock")
async def test_a_forged_address_is_no_way_around_the_limit(environ: dict[str, str]) -> None:
    """A client sends the header itself, through the proxy or not; only what the proxy appends counts."""
    async with served(environ) as get:
        assert await exhausted(get, forwarded=CLIENT) == 10
        for forged in (f"{OTHER}, {CLIENT}", f"{OTHER}|{CLIENT}", f"{OTHER}, {PROXY}, {CLIENT}", f"x, {CLIENT}:5"):
            assert (await get("/api/things", forwarded=forged)).status_code == 429, forged
        assert await exhausted(get, peer=OTHER) == 10
        assert (await get("/api/things", peer=OTHER, forwarded="198.51.100.1")).status_code == 429


@pytest.mark.usefixtures("clock")
async def test_the_platform_itself_is_not_limited(environ: dict[str, str]) -> None:
    async with served(environ) as get:
        assert await exhausted(get) == 10
        assert (await get("/api/metrics")).status_code == 200
        assert (await get("/api/health/ready")).status_code == 200
        assert (await get("/api/healthy")).status_code == 429, "no prefix of it"


@pytest.mark.usefixtures("clock")
async def test_heartbeats_with_unknown_urls_are_limited_apart_from_other_requests(environ: dict[str, str]) -> None:
    async with served(environ) as get:
        before = refused("heartbeats")
        assert await exhausted(get, "/api/heartbeats/known", forwarded=CLIENT) == 30
        assert await exhausted(get, "/api/things", forwarded=CLIENT) == 10
        assert (await get("/api/heartbeats/known", forwarded=CLIENT)).status_code == 200
        assert await exhausted(get, "/api/heartbeats/unknown", forwarded=CLIENT) == 10
        assert refused("heartbeats") == before + 1


@pytest.mark.usefixtures("clock")
async def test_without_a_limit_nothing_is_refused(environ: dict[str, str]) -> None:
    async with served(environ, CLIENT_REQUESTS_PER_SECOND="") as get:
        assert await exhausted(get, forwarded=CLIENT) == 30


@pytest.mark.usefixtures("clock")
async def test_a_network_of_ipv6_is_one_client(environ: dict[str, str]) -> None:
    async with served(environ) as get:
        assert await exhausted(get, forwarded="2001:db8:0:1::1") == 10
        assert (await get("/api/things", forwarded="[2001:db8:0:1:ffff::2]:443")).status_code == 429
        assert (await get("/api/things", forwarded="2001:db8:0:2::1")).status_code == 200
        assert await exhausted(get, forwarded=f"::ffff:{CLIENT}") == 10
        assert (await get("/api/things", forwarded=CLIENT)).status_code == 429


async def test_few_clients_are_remembered_and_a_flood_is_logged_once(
    environ: dict[str, str], clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(client_limits, "MAX_CLIENTS", 2)
    async with served(environ) as get:
        assert await exhausted(get, forwarded=CLIENT) == 10
        capsys.readouterr()
        clock.now += 0.5
        for _ in range(5):
            assert (await get("/api/things", forwarded=CLIENT)).status_code == 429
        assert capsys.readouterr().out == "", "neither a line of the request nor of the client"
        await get("/api/things", forwarded=OTHER)
        assert (await get("/api/things", forwarded=CLIENT)).status_code == 429
        await get("/api/things", forwarded="192.0.2.10")
        await get("/api/things", forwarded="192.0.2.11")
        assert (await get("/api/things", forwarded=CLIENT)).status_code == 200, "forgotten"


async def test_the_proxy_is_found_by_its_name(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked = [PROXY], []

    async def addresses(names: tuple[str, ...]) -> frozenset[Any]:
        asked.append(names)
        if not found:
            raise OSError("no such name")
        return frozenset(map(ip_address, found))

    monkeypatch.setattr(client_address, "_addresses", addresses)
    clients = ClientAddresses(TrustedProxies.parse("proxy, 10.9.0.0/16"))

    async def client(peer: str, *forwarded: str) -> str:
        return str(await clients.client(peer, forwarded))

    assert await client(PROXY, CLIENT) == CLIENT
    assert await client(PROXY, f"{CLIENT}, 10.9.1.1") == CLIENT
    assert await client("10.9.1.1") == "10.9.1.1", "it sent no header"
    assert asked == [("proxy",)], "one lookup for all of them"
    found[:] = ["10.0.0.3"]
    assert await client("10.0.0.3", CLIENT) == "10.0.0.3", "it was looked up just now"
    clock.now += 1
    assert await client("10.0.0.3", CLIENT) == CLIENT
    assert await client(PROXY, CLIENT) == PROXY, "another container has its address"
    found.clear()
    clock.now += 60
    assert await client("10.0.0.3", CLIENT) == CLIENT, "it keeps what it knows while the name has no address"


addresses = st.ip_addresses().map(str)


@given(st.lists(addresses, max_size=4), addresses, st.lists(st.sampled_from([PROXY, "10.0.0.3"]), max_size=2))
async def test_a_header_of_a_client_does_not_change_its_address(sent: list[str], own: str, passed: list[str]) -> None:
    clients = ClientAddresses(TrustedProxies.parse(f"{PROXY},10.0.0.3"))
    if own in (PROXY, "10.0.0.3"):
        return
    honest = await clients.client(PROXY, [", ".join([own, *passed])])
    assert await clients.client(PROXY, [", ".join([*sent, own, *passed])]) == honest


@pytest.mark.parametrize("value", ["10.0.0.1/8", "a b", "proxy:80", "http://proxy", "*"])
def test_an_invalid_proxy_is_refused(environ: dict[str, str], value: str) -> None:
    with pytest.raises(SettingsError, match="TRUSTED_PROXIES must be a comma-separated list"):
        load({**environ, "TRUSTED_PROXIES": value})
