"""HTTP probes: what is sent to whom, over redirects, proxies and to other addresses."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from netmon.guard import Guard
from netmon.models import Plan
from netmon.probing import Prober
from netmon.probing.client import Client, Route
from netmon.probing.text_search import TextSearch
from netmon.specs import HttpSpec
from netmon.url_targets import WebUrl
from tests.unit.app.probing.probes import EVERYWHERE, probe
from tests.unit.app.probing.servers import OK, Handler, answers, redirects, server
from tests.unit.app.probing.test_guarded import names

pytestmark = pytest.mark.anyio

SIGNED = "a%2fb/./c?c=AK%2F2026%2Fs3&t=01%3A00&e='{}|^~&plus=+%20&empty=&=x"


async def test_the_query_is_sent_as_it_was_typed() -> None:
    requested: list[str] = []
    async with server(answers(OK), requested=requested) as url:
        assert (await probe(url + SIGNED)).status == "succeeded"
    assert requested == [f"/{SIGNED}".replace("/./", "/").replace("'", "%27")]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text("".join(map(chr, range(0x21, 0x7F))).translate(str.maketrans("", "", "\"#<>'")), max_size=40))
async def test_every_query_is_on_the_wire_as_it_was_typed(query: str) -> None:
    requested: list[str] = []
    async with server(answers(OK), requested=requested) as url:
        await probe(f"{url}?{query}")
    assert requested == [f"/?{query}"]


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with server(answers(OK)) as url:
        assert (await probe(url)).status == "succeeded"


async def test_a_host_header_is_for_the_origin_of_the_target() -> None:
    heads: list[bytes] = []
    async with server(answers(OK), heads=heads) as elsewhere, server(redirects(elsewhere), heads=heads) as url:
        assert (await probe(url, headers={"Host": "my.example"})).status == "succeeded"
    assert b"\r\nhost: my.example\r\n" in heads[0]
    assert f"\r\nhost: {elsewhere.split('/')[2]}\r\n".encode() in heads[1]


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [(301, "POST", b"get"), (302, "POST", b"get"), (303, "PUT", b"get"), (303, "HEAD", b"head"),
     (302, "PUT", b"put"), (307, "POST", b"post"), (308, "POST", b"post"), (302, "OPTIONS", b"options")],
)  # fmt: skip
async def test_a_redirect_keeps_or_changes_the_method_as_browsers_do(status: int, method: str, then: bytes) -> None:
    heads: list[bytes] = []
    async with server(answers(OK), heads=heads) as elsewhere, server(redirects(elsewhere, status), heads=heads) as url:
        assert (await probe(url, method=method)).status == "succeeded"
    assert [head.split(b" ")[0] for head in heads] == [method.lower().encode(), then]
    assert (b"content-length: 0\r\n" in heads[0]) is (method in ("POST", "PUT"))
    assert b"content-type" not in heads[0]


async def test_cookies_are_of_one_probe() -> None:
    async def login(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cookie = b"cookie: seen=2; own=1\r\n" in heads[-1]
        await (answers(OK) if cookie else redirects("/\r\nSet-Cookie: seen=2"))(reader, writer)

    heads: list[bytes] = []
    async with server(login, heads=heads) as url, Prober(EVERYWHERE, "test") as prober:
        spec = HttpSpec(url=url, headers={"Cookie": "own=1"})
        for _ in range(2):
            outcome = await prober.probe(Plan(spec=spec, timeout_seconds=5))
            assert (outcome.status, outcome.http_status) == ("succeeded", 200)
        assert (await prober.probe(Plan(spec=HttpSpec(url=f"{url}other"), timeout_seconds=5))).error == "redirects"
    assert [b"seen" in head for head in heads[:4]] == [False, True] * 2
    assert not any(b"own" in head for head in heads[4:]), "a client is used again without what it was set to"


async def test_too_many_redirects_have_a_sentence() -> None:
    async with server(redirects("/")) as url:
        outcome = await probe(url)
    assert (outcome.error, outcome.http_status, outcome.detail) == ("redirects", None, "more than 20 redirects")


async def test_redirects_are_not_followed_if_it_is_switched_off() -> None:
    heads: list[bytes] = []
    async with server(redirects("/"), heads=heads) as url:
        outcome = await probe(url, follow_redirects=False)
    assert (outcome.status, outcome.http_status, len(heads)) == ("succeeded", 302, 1)


@pytest.mark.parametrize(("text", "follows"), [("yes", True), ("no", False)])
def test_the_form_sends_a_word_for_whether_redirects_are_followed(text: str, follows: bool) -> None:
    spec = HttpSpec.model_validate({"url": "http://a/", "follow_redirects": text})
    assert spec.follow_redirects is follows


async def test_another_host_is_connected_to_under_the_name_of_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    heads: list[bytes] = []
    async with server(answers(OK), heads=heads) as url:
        requested = names(monkeypatch, ["127.0.0.1"])
        outcome = await probe("http://shop.example/x", connect_to=url.split("/")[2])
        assert outcome.status == "succeeded"
        assert requested == []
    assert b"\r\nhost: shop.example\r\n" in heads[0]


async def test_the_guard_checks_the_host_that_is_connected_to() -> None:
    heads: list[bytes] = []
    async with server(answers(OK), heads=heads) as url:
        place = url.split("/")[2]
        public = "http://192.0.43.8/"
        assert (await probe(public, connect_to=place, allowed=Guard())).error == "refused_address"
        assert (await probe(public, proxy=f"http://{place}", allowed=Guard())).error == "refused_address"
        assert heads == []
        assert Guard().refuses(HttpSpec(url=public, connect_to=place))
        assert Guard().refuses(HttpSpec(url=public, proxy=f"http://{place}"))
        assert (await probe(public, connect_to=place, allowed=Guard.parse(place))).status == "succeeded"


async def test_no_socket_is_opened_for_an_address_that_the_guard_has_not_permitted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even if libcurl would connect to another address than the one it was given."""
    set_route = Client._set_route

    def mistaken(client: Client, url: WebUrl, route: Route) -> None:
        set_route(client, url, route)
        client._permitted = frozenset({"192.0.43.8"})

    monkeypatch.setattr(Client, "_set_route", mistaken)
    heads: list[bytes] = []
    async with server(answers(OK), heads=heads) as url:
        assert (await probe(url)).error == "refused_address"
    assert heads == []


async def test_a_mistake_of_the_prober_is_no_failure_of_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TextSearch, "feed", lambda _self, _part: 1 / 0)
    async with server(answers(OK)) as url:
        with pytest.raises(ZeroDivisionError):
            await probe(url, body_contains="x")


async def test_a_client_is_used_again_after_a_timeout() -> None:
    async def silent(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(10)

    async with server(silent) as slow, server(answers(OK)) as url, Prober(EVERYWHERE, "test") as prober:
        for _ in range(3):
            assert (await prober.probe(Plan(spec=HttpSpec(url=slow), timeout_seconds=0.1))).error == "timeout"
            assert (await prober.probe(Plan(spec=HttpSpec(url=url), timeout_seconds=5))).status == "succeeded"


async def test_many_probes_at_once_share_nothing() -> None:
    heads: list[bytes] = []
    async with server(answers(OK), heads=heads) as url, Prober(EVERYWHERE, "test") as prober:
        plans = [Plan(spec=HttpSpec(url=f"{url}{number}"), timeout_seconds=20) for number in range(100)]
        outcomes = await asyncio.gather(*map(prober.probe, plans))
    assert {outcome.error for outcome in outcomes} == {None}
    assert {head.split(b" ")[1] for head in heads} == {b"/%d" % number for number in range(100)}


def proxy(status: int) -> Handler:
    """A proxy that opens no tunnel, and answers other requests itself."""
    return answers(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % status)


async def test_a_proxy_gets_the_request_and_resolves_the_name() -> None:
    heads: list[bytes] = []
    async with server(proxy(200), heads=heads) as url:
        assert (await probe("http://nowhere.invalid/x?%2f", proxy=url, allowed=EVERYWHERE)).status == "succeeded"
    assert heads[0].startswith(b"get http://nowhere.invalid/x?%2f http/1.1\r\n")


async def test_a_proxy_that_refuses_a_tunnel_is_a_failure_of_its_own() -> None:
    heads: list[bytes] = []
    async with server(proxy(403), heads=heads) as url:
        outcome = await probe("https://nowhere.invalid/", proxy=url)
    assert heads[0].startswith(b"connect nowhere.invalid:443 http/1.1\r\n")
    assert (outcome.error, outcome.detail) == ("proxy", "the proxy refused the connection with status 403")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"connect_to": "a b"}, "must be host or host:port"),
        ({"connect_to": "a:0"}, "the port must be from 1 to 65535"),
        ({"connect_to": "a:70000"}, "the port must be from 1 to 65535"),
        ({"connect_to": "http://a"}, "must be host or host:port"),
        ({"connect_to": ""}, "must be host or host:port"),
        ({"proxy": "https://a:3128"}, "a proxy is http://host:port"),
        ({"proxy": "http://a:3128/x"}, "a proxy is http://host:port"),
        ({"proxy": "http://u:p@a:3128"}, "must not contain credentials"),
        ({"proxy": "socks5://a"}, "must start with http"),
        ({"proxy": "http://a:3128", "connect_to": "b"}, "exclude each other"),
    ],
)
def test_a_route_that_is_not_valid_is_refused(settings: dict[str, str], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        HttpSpec.model_validate({"url": "https://a.example/", **settings})


@pytest.mark.parametrize(
    ("text", "normal", "endpoint"),
    [
        ("B.example", "b.example", ("b.example", 443)),
        ("b.example:8443", "b.example:8443", ("b.example", 8443)),
        ("192.0.2.1", "192.0.2.1", ("192.0.2.1", 443)),
        ("[2001:DB8::1]:80", "[2001:db8::1]:80", ("2001:db8::1", 80)),
        ("2001:db8::1", "[2001:db8::1]", ("2001:db8::1", 443)),
        ("[2001:db8::1]", "[2001:db8::1]", ("2001:db8::1", 443)),
    ],
)
def test_a_host_to_connect_to_has_one_form(text: str, normal: str, endpoint: tuple[str, int]) -> None:
    spec = HttpSpec(url="https://a.example/", connect_to=text)
    assert (spec.connect_to, spec.endpoint) == (normal, endpoint)
    assert HttpSpec(url="https://a.example/", connect_to=normal).connect_to == normal


def test_settings_that_the_former_release_does_not_know_are_left_out_unless_they_are_used() -> None:
    assert not {"connect_to", "proxy", "follow_redirects"} & HttpSpec(url="http://a/").model_dump().keys()
    assert HttpSpec(url="http://a/", follow_redirects=False).model_dump()["follow_redirects"] is False
    assert HttpSpec(url="http://a/", connect_to="b").model_dump()["connect_to"] == "b"
