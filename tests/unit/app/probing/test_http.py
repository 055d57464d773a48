"""HTTP probes: the request, the response and the result."""

import asyncio
import gzip

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netmon import tracing
from netmon.details import MAX_DETAIL
from netmon.probing.http import MAX_BODY, MAX_REDIRECTS
from tests.unit.app.probing.probes import probe
from tests.unit.app.probing.servers import OK, answers, redirects, server

pytestmark = pytest.mark.anyio


async def test_a_response_with_status_200_is_a_success() -> None:
    async with server(answers(OK)) as url:
        outcome = await probe(url)
    assert (outcome.status, outcome.http_status, outcome.error, outcome.detail) == ("succeeded", 200, None, None)
    assert (outcome.attempts, outcome.warning, outcome.certificate_days) == (1, None, None)
    assert 0 < outcome.duration_ms < 5000


async def test_an_ipv6_address_is_probed() -> None:
    async with server(answers(OK), host="::1") as url:
        assert (await probe(url)).http_status == 200


@pytest.mark.parametrize(
    ("code", "expected", "status"),
    [
        (204, [], "succeeded"),
        (304, [], "succeeded"),
        (404, [], "failed"),
        (503, [], "failed"),
        (404, [404, 410], "succeeded"),
        (200, [404], "failed"),
        (302, [302], "succeeded"),
    ],
)
async def test_the_status_determines_the_result(code: int, expected: list[int], status: str) -> None:
    async with server(answers(b"HTTP/1.1 %d X\r\nLocation: /\r\nContent-Length: 0\r\n\r\n" % code)) as url:
        outcome = await probe(url, expected_status=expected)
    assert (outcome.status, outcome.http_status) == (status, code)
    assert outcome.error == ("http_status" if status == "failed" else None)


async def test_method_and_headers_are_sent() -> None:
    heads: list[bytes] = []

    async with server(answers(OK), heads=heads) as url:
        await probe(url, method="POST", headers={"X-Key": "secret", "User-Agent": "mine"})
    [head] = heads
    assert head.startswith(b"post / http/1.1\r\n")
    assert b"x-key: secret\r\n" in head
    assert b"user-agent: mine\r\n" in head
    assert b"network-monitor" not in head


async def test_trace_and_request_ids_are_not_sent_to_the_target(spans: object) -> None:
    heads: list[bytes] = []
    async with server(answers(OK), heads=heads) as url:
        with tracing.span("probe", carrier={"x-request-id": "mine"}):
            await probe(url)
            assert "traceparent" in tracing.carrier(), "otherwise there would be nothing to send"
    [head] = heads
    assert b"user-agent: network-monitor/test" in head
    for word in (b"traceparent", b"tracestate", b"baggage", b"x-request-id", b"mine"):
        assert word not in head


@pytest.mark.parametrize("same", [True, False])
async def test_headers_are_not_sent_to_another_origin_after_a_redirect(same: bool) -> None:
    heads: list[bytes] = []
    async with server(answers(OK), heads=heads) as elsewhere:
        if same:
            base = elsewhere
            outcome = await probe(elsewhere, headers={"X-Key": "secret", "User-Agent": "mine"})
        else:
            async with server(redirects(elsewhere)) as base:
                outcome = await probe(base, headers={"X-Key": "secret", "User-Agent": "mine"})
    assert outcome.status == "succeeded"
    [head] = heads
    assert (b"secret" in head) is same


async def test_a_redirect_loop_fails_after_the_maximum_of_redirects() -> None:
    requests = 0

    async def loop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        requests += 1
        await redirects("/again")(reader, writer)

    async with server(loop) as url:
        assert (await probe(url)).error == "redirects"
    assert requests <= MAX_REDIRECTS + 1


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "gopher://127.0.0.1/", "http://", "http://a\x00b/", f"http://{'a' * 300}/"]
)
async def test_a_redirect_to_an_invalid_url_fails(location: str) -> None:
    async with server(redirects(location)) as url:
        assert (await probe(url)).error in {"protocol", "dns"}


async def test_an_endless_body_is_read_up_to_the_limit() -> None:
    sent = 0

    async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            sent += 65536
            await writer.drain()

    async with server(endless) as url:
        outcome = await probe(url)
    assert outcome.status == "succeeded"
    assert sent < 16 * MAX_BODY  # in addition to what was read, the socket buffers are filled


@pytest.mark.parametrize(
    ("before", "found"), [(0, True), (MAX_BODY - 6, True), (MAX_BODY - 5, False), (MAX_BODY, False)]
)
async def test_text_is_searched_in_the_first_mebibyte(before: int, found: bool) -> None:
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    async with server(answers(head, b"x" * before, b"needle", b"x" * 100_000)) as url:
        outcome = await probe(url, body_contains="needle")
    assert outcome.error == (None if found else "body")
    assert outcome.http_status == 200


@pytest.mark.parametrize(
    ("charset", "body"),
    [
        ("", "größe".encode()),
        ("utf-8", "größe".encode()),
        ("iso-8859-1", "größe".encode("iso-8859-1")),
        ("nonsense", "größe".encode()),
        ("zip", "größe".encode()),  # a codec of Python, but not a text encoding
    ],
)
async def test_text_is_searched_in_the_charset_of_the_body(charset: str, body: bytes) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset={charset}\r\nConnection: close\r\n\r\n".encode()
    async with server(answers(head, body)) as url:
        assert (await probe(url, body_contains="größe")).status == "succeeded"


async def test_a_body_is_decompressed_up_to_the_limit() -> None:
    bomb = gzip.compress(b"needle" + bytes(64 * MAX_BODY) + b"eye")
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    async with server(answers(head, bomb)) as url:
        assert (await probe(url, body_contains="needle")).status == "succeeded"
        outcome = await probe(url, body_contains="eye")
    assert (outcome.error, outcome.http_status) == ("body", 200)
    assert outcome.detail == f'the first {MAX_BODY} bytes of the body do not contain the expected text "eye"'


@pytest.mark.parametrize(("text", "accepted"), [(None, "identity"), ("ok", "gzip, deflate")])
async def test_compression_is_accepted_if_the_body_is_read(text: str | None, accepted: str) -> None:
    heads: list[bytes] = []
    async with server(answers(OK), heads=heads) as url:
        await probe(url, body_contains=text)
    assert f"accept-encoding: {accepted}\r\n".encode() in heads[0]


@pytest.mark.parametrize("text", [None, "x" * 200])
@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"])
async def test_a_slow_target_fails_with_a_timeout_if_its_body_is_read(head: bytes, text: str | None) -> None:
    async def slow(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            if head:
                writer.write(b"x")
                await writer.drain()
            await asyncio.sleep(0.05)

    async with server(slow) as url:
        outcome = await probe(url, timeout=0.2, body_contains=text)
    assert outcome.error == (None if head and text is None else "timeout")
    assert outcome.http_status == (200 if head else None)


async def test_endless_interim_responses_fail() -> None:
    async def interim(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
            await writer.drain()
            await asyncio.sleep(0.01)

    async with server(interim) as url:
        assert (await probe(url, timeout=0.3)).error in {"timeout", "disconnected", "protocol"}


async def test_an_oversized_header_fails_the_probe() -> None:
    async with server(answers(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 10_000_000, b"\r\n\r\n")) as url:
        assert (await probe(url)).error == "protocol"


async def test_endless_headers_fail_the_probe() -> None:
    async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X: y\r\n" * 1000)
            await writer.drain()

    async with server(endless) as url:
        assert (await probe(url)).error in {"protocol", "disconnected"}


async def test_a_response_that_is_not_http_fails_with_a_printable_detail() -> None:
    async with server(answers(b"SSH-2.0-\x00\x1b[31m\xff" + b"x" * 5000 + b"\r\n\r\n")) as url:
        outcome = await probe(url)
    assert outcome.error == "protocol"
    assert outcome.detail
    assert outcome.detail.isprintable()
    assert len(outcome.detail) <= MAX_DETAIL
    outcome.model_dump_json()


async def test_a_connection_closed_without_a_response_fails() -> None:
    async with server(answers()) as url:
        assert (await probe(url)).error == "disconnected"


async def test_a_closed_port_and_an_unknown_host_have_different_errors() -> None:
    async with server(answers(OK)) as url:
        pass
    assert (await probe(url)).error == "connect"
    assert (await probe("http://nowhere.invalid/")).error == "dns"


async def test_the_phases_of_a_probe_are_timed() -> None:
    async def slow(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        await asyncio.sleep(0.2)
        writer.write(b"body")

    async with server(slow) as url:
        outcome = await probe(url, body_contains="body")
    assert list(outcome.phases) == ["lookup", "connect", "first_byte", "transfer"]
    assert 90 < outcome.phases["first_byte"] < 190
    assert 190 < outcome.phases["transfer"] < 290
    assert sum(outcome.phases.values()) == pytest.approx(outcome.duration_ms, abs=40)


async def test_the_phases_of_redirects_are_added_up() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        await redirects(elsewhere)(reader, writer)

    async def slow_too(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        await answers(OK)(reader, writer)

    async with server(slow_too) as elsewhere, server(slow) as url:
        outcome = await probe(url)
    assert 190 < outcome.phases["first_byte"] < 290


async def test_the_phases_end_where_a_probe_failed() -> None:
    async def silent(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(10)

    async with server(silent) as url:
        assert list((await probe(url, timeout=0.2)).phases) == ["lookup", "connect"]
    assert list((await probe(url)).phases) == ["lookup"]


PIECES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 302 X\r\n",
        b"Location: ",
        b"Content-Length: 5\r\n",
        b"\r\n",
        b"\n",
        b"\0",
        b"5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Encoding: gzip\r\n",
        b"Set-Cookie: a=b\r\n",
        b"<meta charset=",
        gzip.compress(b"a"),
        b"Content-Type: text/html; charset=",
        b"HTTP/1.1 103 X\r\n\r\n",
    ]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PIECES | st.binary(max_size=20), max_size=12))
async def test_every_response_leads_to_a_result_with_a_printable_sentence(parts: list[bytes]) -> None:
    async with server(answers(*parts)) as url:
        outcome = await probe(url, timeout=1, body_contains="a")
    assert outcome.detail is None or outcome.detail.isprintable()
    assert "curl" not in (outcome.detail or "").lower()
