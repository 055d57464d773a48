"""Checks of responses that come over sockets: each one passes, and fails with the actual and the expected value."""

from __future__ import annotations

import asyncio
import ssl
import threading
from typing import Any

import pytest
import trustme

from netmon.http_checks import MAX_BODY
from netmon.probing import assertions
from netmon.probing.response import STOP, Response
from netmon.specs import HttpSpec
from tests.corpus import http2
from tests.unit.app.probing.probes import EVERYWHERE, probe
from tests.unit.app.probing.servers import answers, redirects, server

pytestmark = pytest.mark.anyio

BODY = b'{"status": "up", "queue": 7}'
ANSWER = answers(
    b"HTTP/1.1 203 OK\r\nContent-Type: application/json\r\nVia: a\r\nvia: b\r\nContent-Length: %d\r\n\r\n" % len(BODY),
    BODY,
)

CHECKS: tuple[tuple[dict[str, Any], dict[str, Any], str, str], ...] = (
    (
        {"expected_status": ["2xx"]}, {"expected_status": [200, "3xx"]},
        "http_status", "the target answered with status 203, expected 200, 3xx",
    ),
    (
        {"expected_headers": ["Via == a, b"]}, {"expected_headers": ["Via == a"]},
        "header", 'the header Via is "a, b", expected "a"',
    ),
    (
        {"body_excludes": "down"}, {"body_excludes": '"up"'},
        "body", 'the body contains ""up"", expected that it does not',
    ),
    (
        {"body_matches": "queue.: [0-9]"}, {"body_matches": "^queue"},
        "body", "the first 28 bytes of the body do not match the expected expression \"^queue\"",
    ),
    (
        {"expected_json": ['$.status == "up"']}, {"expected_json": ["$.queue < 5"]},
        "json", "$.queue is 7, expected < 5",
    ),
    (
        {"min_body_bytes": 28, "max_body_bytes": 28}, {"min_body_bytes": 29},
        "size", "the body has 28 bytes, expected at least 29",
    ),
    (
        {"expected_protocol": "HTTP/1.1"}, {"expected_protocol": "HTTP/2"},
        "http_version", "the protocol is HTTP/1.1, expected HTTP/2",
    ),
)  # fmt: skip


@pytest.mark.parametrize(("passing", "failing", "code", "sentence"), CHECKS, ids=lambda each: str(each)[:40])
async def test_a_check_passes_or_fails(passing: Any, failing: Any, code: str, sentence: str) -> None:
    async with server(ANSWER) as url:
        assert (await probe(url, **passing)).detail is None
        outcome = await probe(url, **failing)
    assert (outcome.error, outcome.detail, outcome.http_status) == (code, sentence, 203)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
async def test_a_header_outside_ascii_is_compared(encoding: str) -> None:
    head = "HTTP/1.1 200 OK\r\nX-Name: Größe\r\nContent-Length: 0\r\n\r\n".encode(encoding)
    async with server(answers(head)) as url:
        assert (await probe(url, expected_headers=["X-Name == Größe"])).detail is None


async def test_all_failed_checks_are_in_the_detail() -> None:
    async with server(ANSWER) as url:
        outcome = await probe(url, expected_status=[200], expected_headers=["X-A"], body_contains="down")
    assert outcome.error == "http_status"
    assert outcome.detail == (
        "the target answered with status 203, expected 200; the header X-A is missing, expected any value; "
        'the first 28 bytes of the body do not contain the expected text "down"'
    )


async def test_the_destination_of_redirects_is_checked() -> None:
    async with server(ANSWER) as last, server(redirects(f"{last}end?a=1")) as middle, server(redirects(middle)) as url:
        assert (await probe(url, max_redirects=2, expected_url=f"{last}end?a=1")).status == "succeeded"
        many = await probe(url, max_redirects=1)
        elsewhere = await probe(url, expected_url=middle)
    assert (many.error, many.detail) == ("redirects", "redirected 2 times, expected at most 1 redirects")
    assert elsewhere.error == "url"
    assert elsewhere.detail == f'the last URL is "{last}end?a=•••", expected "{middle}"'


@pytest.mark.parametrize(
    ("expected", "status"), [([302], 302), (["3xx"], 302), (["300-303"], 302), (["200-399"], 203), (["2xx"], 203)]
)
async def test_a_redirect_is_not_followed_if_it_is_expected(expected: list[int | str], status: int) -> None:
    async with server(ANSWER) as last, server(redirects(last)) as url:
        assert (await probe(url, expected_status=expected)).http_status == status


async def test_the_body_is_read_to_its_end_or_the_limit() -> None:
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    async with server(answers(head, b"needle", b"x" * (2 * MAX_BODY))) as url:
        assert (await probe(url, body_contains="needle", body_matches="x$")).status == "succeeded"
        large = await probe(url, max_body_bytes=MAX_BODY)
        no_json = await probe(url, expected_json=["$"])
    assert large.detail == f"the body has more than {MAX_BODY} bytes, expected at most {MAX_BODY}"
    assert no_json.detail == f"the body has more than {MAX_BODY} bytes, too many for JSON, expected $"
    async with server(answers(head, b"x" * MAX_BODY)) as url:
        assert (await probe(url, max_body_bytes=MAX_BODY, min_body_bytes=MAX_BODY)).status == "succeeded"


async def test_a_body_without_bytes_is_checked() -> None:
    async with server(answers(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as url:
        assert (await probe(url, max_body_bytes=0, body_excludes="x")).status == "succeeded"
        assert (await probe(url, expected_json=["$"])).detail == "the body is not JSON: it is empty, expected $"


async def test_a_slow_phase_is_a_warning() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.15)
        await ANSWER(reader, writer)

    async with server(slow) as url:
        outcome = await probe(url, slow_phases_ms={"connect": 5000, "first_byte": 100})
        fast = await probe(url, slow_phases_ms={"first_byte": 4000})
    assert (outcome.status, outcome.warning) == ("succeeded", "slow")
    assert (outcome.detail or "").startswith("first byte took 1")
    assert (fast.status, fast.warning) == ("succeeded", None)


async def test_the_protocol_of_http2_is_named() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    context.set_alpn_protocols(["h2"])

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http2.SETTINGS + http2.ACKNOWLEDGED)
        writer.write(http2.headers({":status": "200", "x-a": "b"}) + http2.data(b"ok"))
        await asyncio.sleep(1)

    async with server(answer, tls=context) as url:
        trusted: dict[str, Any] = {"ca_certificate": authority.cert_pem.bytes().decode(), "body_matches": "^ok$"}
        good = await probe(url, expected_protocol="HTTP/2", expected_headers=["X-A == b"], **trusted)
        bad = await probe(url, expected_protocol="HTTP/1.1", **trusted)
    assert good.status == "succeeded"
    assert (bad.error, bad.detail) == ("http_version", "the protocol is HTTP/2, expected HTTP/1.1")


async def test_a_body_is_longer_than_the_limit_only_if_more_arrives() -> None:
    response = Response(None, collects=True, follows=True)
    for line in (b"HTTP/1.1 200 OK\r\n", b"\r\n"):
        assert response.take_header(line) is None
    assert response.take_body(b"x" * MAX_BODY) is None
    assert response.received == MAX_BODY
    assert response.take_body(b"x") == STOP
    assert (response.received, len(response.body)) == (MAX_BODY + 1, MAX_BODY)


@pytest.mark.parametrize(("size", "checks", "in_loop"), [
    (100, {"body_matches": "y"}, True),
    (100_000, {"body_matches": "y"}, False),
    (100_000, {"body_excludes": "y", "expected_headers": ["X matches y"]}, False),
    (100_000, {"body_excludes": "y"}, True),
])  # fmt: skip
async def test_an_expression_on_a_long_body_does_not_hold_up_other_probes(
    monkeypatch: pytest.MonkeyPatch, size: int, checks: dict[str, Any], in_loop: bool
) -> None:
    threads: list[threading.Thread] = []

    def failures(spec: HttpSpec, answer: assertions.Answer) -> list[assertions.Failure]:
        threads.append(threading.current_thread())
        return original(spec, answer)

    original = assertions.failures
    monkeypatch.setattr(assertions, "failures", failures)
    async with server(answers(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, b"x" * (size - 1), b"y")) as url:
        await probe(url, 20, EVERYWHERE, **checks)
    assert [thread is threading.current_thread() for thread in threads] == [in_loop]
