"""HTTP probes through the proxy of all targets."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from netmon.guard import Guard
from netmon.models import Outcome, Plan
from netmon.outbound import OutboundProxy
from netmon.probing import Prober
from tests.unit.app.probing.servers import OK, answers, server

pytestmark = pytest.mark.anyio

BASIC = base64.b64encode(b"anna:se:cret").decode().lower().encode()


@asynccontextmanager
async def proxy(answer: bytes, heads: list[bytes], **settings: str) -> AsyncIterator[Guard]:
    """A guard whose proxy answers every request itself; private addresses are not permitted."""
    async with server(answers(answer), heads=heads) as url:
        yield Guard(proxy=OutboundProxy.parse(url, **settings))


async def probe(url: str, guard: Guard, secrets: Path = Path("/nonexistent"), **spec: Any) -> Outcome:
    plan = Plan.model_validate({"spec": {"kind": "http", "url": url, **spec}, "timeout_seconds": 5})
    async with Prober(guard, "test", secrets) as prober:
        return await prober.probe(plan)


async def test_the_proxy_of_the_setting_gets_the_request_at_a_private_address() -> None:
    """The guard permits it to no target: only the setting does."""
    heads: list[bytes] = []
    async with proxy(OK, heads) as guard:
        assert (await probe("http://nowhere.invalid/x?%2f", guard)).status == "succeeded"
        place = f"http://127.0.0.1:{guard.proxy.port if guard.proxy else 0}/"
        assert (await probe(place, guard)).error == "refused_address"
        assert (await probe("http://nowhere.invalid/", guard, proxy=place)).error == "refused_address"
    [head] = heads
    assert head.startswith(b"get http://nowhere.invalid/x?%2f http/1.1\r\n")
    assert b"proxy-authorization" not in head


async def test_a_tunnel_is_requested_for_tls() -> None:
    heads: list[bytes] = []
    async with proxy(b"HTTP/1.1 403 X\r\nContent-Length: 0\r\n\r\n", heads) as guard:
        outcome = await probe("https://nowhere.invalid/", guard)
    assert heads[0].startswith(b"connect nowhere.invalid:443 http/1.1\r\n")
    assert (outcome.error, outcome.detail) == ("proxy", "the proxy refused the connection with status 403")


@pytest.mark.parametrize("url", ["http://nowhere.invalid/", "https://nowhere.invalid/"])
async def test_the_login_is_read_from_its_secret_for_each_probe(tmp_path: Path, url: str) -> None:
    heads: list[bytes] = []
    async with proxy(OK, heads, login="secret:proxy") as guard:
        outcome = await probe(url, guard, tmp_path)
        assert (outcome.error, outcome.detail) == ("secret", "the secret proxy is missing")
        (tmp_path / "proxy").write_text("anna\n")
        assert (await probe(url, guard, tmp_path)).detail == "the secret of the proxy is not user:password"
        assert heads == []
        (tmp_path / "proxy").write_text("anna:se:cret\n")
        outcome = await probe(url, guard, tmp_path)
    assert b"\r\nproxy-authorization: basic " + BASIC + b"\r\n" in heads[0]
    assert "cret" not in (outcome.detail or "")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_requires_a_login_is_the_failure(scheme: str) -> None:
    async with proxy(b"HTTP/1.1 407 X\r\nContent-Length: 0\r\n\r\n", []) as guard:
        outcome = await probe(f"{scheme}://nowhere.invalid/", guard)
    assert outcome.error == "proxy"
    assert outcome.detail in {
        "the proxy refused the connection with status 407", "the proxy refused the request with status 407"
    }  # fmt: skip


async def test_exceptions_private_addresses_and_other_ways_of_a_target_are_direct() -> None:
    through: list[bytes] = []
    direct: list[bytes] = []
    async with proxy(OK, through, exceptions="direct.localhost") as guard, server(answers(OK), heads=direct) as url:
        port = urlsplit(url).port
        permitted = Guard(private=True, proxy=guard.proxy)
        for probed in (url, f"http://direct.localhost:{port}/", f"http://localhost:{port}/"):
            assert (await probe(probed, permitted)).status == "succeeded", probed
        for own in ({"connect_to": f"127.0.0.1:{port}"}, {"proxy": url}):
            plan = Plan.model_validate({"spec": {"kind": "http", "url": "http://nowhere.invalid/", **own}})
            async with Prober(permitted, "test") as prober:
                assert (await prober.probe(plan)).status == "succeeded", own
    assert len(direct) == 5
    assert through == []


async def test_redirects_change_between_the_proxy_and_direct_connections() -> None:
    """The options of a way do not stay for the next one."""
    through: list[bytes] = []
    direct: list[bytes] = []
    to_name = b"HTTP/1.1 302 X\r\nLocation: http://behind.invalid/\r\nContent-Length: 0\r\n\r\n"
    async with server(answers(to_name), heads=direct) as url:
        back = b"HTTP/1.1 302 X\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % url.encode()
        async with proxy(back, through) as guard:
            permitted = Guard(private=True, proxy=guard.proxy)
            outcome = await probe("http://start.invalid/", permitted)
    assert outcome.error == "redirects"
    assert len(through) >= 5
    assert len(direct) >= 5
    assert all(head.startswith(b"get http://") for head in through)
    assert all(head.startswith(b"get / http/1.1") for head in direct)
