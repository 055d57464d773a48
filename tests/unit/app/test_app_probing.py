"""The probing client against hostile servers: every probe ends, in bounds, with the right error."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trustme

from netmon import tracing
from netmon.models import Outcome
from netmon.probing import MAX_BODY, MAX_REDIRECTS, Prober

pytestmark = pytest.mark.anyio

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def server(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server on the loopback interface that reads a request's head and then does what `handler` says."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await handler(reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    host, port = listening.sockets[0].getsockname()
    try:
        yield f"{'https' if tls else 'http'}://{host}:{port}/"
    finally:
        listening.close()


async def probe(url: str, timeout: float = 5) -> Outcome:
    async with Prober(timeout, "test") as prober:
        return await prober.probe(url)


def answers(*parts: bytes) -> Handler:
    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(parts))

    return handler


async def test_a_good_answer_is_a_success() -> None:
    async with server(answers(OK)) as url:
        outcome = await probe(url)
    assert (outcome.status, outcome.http_status, outcome.error, outcome.detail) == ("succeeded", 200, None, None)
    assert 0 < outcome.duration_ms < 5000


@pytest.mark.parametrize(("code", "status"), [(204, "succeeded"), (304, "succeeded"), (404, "failed"), (503, "failed")])
async def test_the_status_decides(code: int, status: str) -> None:
    async with server(answers(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % code)) as url:
        outcome = await probe(url)
    assert (outcome.status, outcome.http_status) == (status, code)
    assert outcome.error == ("http_status" if status == "failed" else None)


async def test_the_target_learns_no_ids(spans: object) -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).lower())
        writer.write(OK)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        with tracing.span("probe", carrier={"x-request-id": "mine"}):
            await probe(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/")
            assert "traceparent" in tracing.carrier(), "there is one that could have been sent"
    [head] = heads
    assert b"user-agent: network-monitor/test" in head
    for word in (b"traceparent", b"tracestate", b"baggage", b"x-request-id", b"mine"):
        assert word not in head


async def test_a_redirect_loop_ends() -> None:
    requests = 0

    async def loop(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        requests += 1
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async with server(loop) as url:
        assert (await probe(url)).error == "redirects"
    assert requests <= MAX_REDIRECTS + 1


async def test_a_redirect_to_another_scheme_is_refused() -> None:
    async with server(
        answers(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n")
    ) as url:
        assert (await probe(url)).error == "protocol"


async def test_an_endless_body_is_read_in_part() -> None:
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
    assert sent < 16 * MAX_BODY  # what the socket buffers hold comes on top of what was read


async def test_a_compressed_body_is_not_unpacked() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n"
    async with server(answers(head, b"junk")) as url:
        assert (await probe(url)).status == "succeeded"


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"])
async def test_a_slow_target_runs_into_the_time_out(head: bytes) -> None:
    async def slow(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        for _ in range(100):
            if head:
                writer.write(b"x")
                await writer.drain()
            await asyncio.sleep(0.05)

    started = time.perf_counter()
    async with server(slow) as url:
        outcome = await probe(url, timeout=0.2)
    assert outcome.error == "timeout"
    assert time.perf_counter() - started < 2


async def test_an_oversized_header_is_refused() -> None:
    async with server(answers(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 10_000_000, b"\r\n\r\n")) as url:
        assert (await probe(url)).error == "protocol"


async def test_endless_headers_are_refused() -> None:
    async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X: y\r\n" * 1000)
            await writer.drain()

    async with server(endless) as url:
        assert (await probe(url)).error in {"protocol", "disconnected"}


async def test_what_is_not_http_is_refused() -> None:
    async with server(answers(b"SSH-2.0-OpenSSH\r\n\r\n")) as url:
        assert (await probe(url)).error == "protocol"


async def test_a_connection_closed_without_an_answer() -> None:
    async with server(answers()) as url:
        assert (await probe(url)).error == "disconnected"


async def test_invalid_tls_is_refused() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with server(answers(OK), tls=context) as url:
        assert (await probe(url)).error == "tls"


async def test_plain_text_on_a_tls_port_is_refused() -> None:
    async with server(answers(OK)) as url:
        assert (await probe(url.replace("http:", "https:"), timeout=1)).error in {"tls", "disconnected", "timeout"}


async def test_a_closed_port_and_an_unknown_host() -> None:
    async with server(answers(OK)) as url:
        pass
    assert (await probe(url)).error == "connect"
    assert (await probe("http://nowhere.invalid/")).error == "dns"
