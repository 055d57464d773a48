"""Targets of the kind grpc: the health check, its statuses, and answers that are none."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from netmon import guard
from netmon.guard import Guard
from netmon.models import Outcome
from netmon.probing import health_messages
from netmon.probing.addresses import AddressBook
from netmon.probing.client import Client, Message
from netmon.url_targets import WebUrl
from tests.corpus import http2
from tests.unit.app.probing.servers import OK
from tests.unit.app.probing.services import HOST, expiring, grpc, hangs, probe_of, says, secured, service
from tests.unit.app.properties import PROPERTY

pytestmark = pytest.mark.anyio

HEADER = {":status": "200", "content-type": "application/grpc"}
SERVING, NOT_SERVING, SERVICE_UNKNOWN = b"\x08\x01", b"\x08\x02", b"\x08\x03"


def framed(message: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(message).to_bytes(4, "big") + message


def healthy(message: bytes = SERVING, status: str = "0") -> tuple[bytes, ...]:
    return (
        http2.headers(HEADER),
        http2.data(framed(message), end=False),
        http2.headers({"grpc-status": status}, end=True),
    )


def failing(status: str, message: str = "", **more: str) -> bytes:
    """An answer of a trailer only."""
    fields = HEADER | {"grpc-status": status} | ({"grpc-message": message} if message else {}) | more
    return http2.headers(fields, end=True)


async def check(port: int, timeout: float = 5, allowed: Guard | None = None, **settings: Any) -> Outcome:
    spec = {"kind": "grpc", "host": HOST, "port": port, "tls": False, **settings}
    return await probe_of(spec, timeout, *([allowed] if allowed else []))


async def test_a_serving_server_is_up() -> None:
    requests: list[bytes] = []
    async with service(grpc(*healthy(), requests=requests)) as port:
        outcome = await check(port)
    assert (outcome.status, outcome.detail, outcome.http_status) == ("succeeded", None, None)
    assert list(outcome.phases) == ["lookup", "connect", "first_byte", "transfer"]
    assert requests[1:] == [framed(b"")]


async def test_the_request_has_the_service_and_the_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, str, Mapping[str, str]]] = []
    request = Client.request

    async def recorded(client: Client, url: WebUrl, message: Message, *more: Any, **named: Any) -> None:
        sent.append((url.text, message.method, message.headers))
        await request(client, url, message, *more, **named)

    monkeypatch.setattr(Client, "request", recorded)
    bodies: list[bytes] = []
    async with service(grpc(*healthy(), requests=bodies)) as port:
        outcome = await check(port, service="shop.v1.Orders", authority="orders.example:8443", headers={"X-Key": "a"})
    assert outcome.status == "succeeded"
    assert bodies[1:] == [framed(b"\x0a\x0eshop.v1.Orders")]
    own = {"content-type": "application/grpc", "te": "trailers", "grpc-timeout": "5000m"}
    assert sent == [("http://orders.example:8443/grpc.health.v1.Health/Check", "POST", own | {"x-key": "a"})]


async def test_tls_with_the_name_of_the_authority(authority: trustme.CA) -> None:
    asked: list[str] = []
    context = secured(expiring(authority, 5, "orders.example"))
    context.set_alpn_protocols(["h2"])
    context.sni_callback = lambda _session, name, _context: asked.append(name)
    async with service(grpc(*healthy()), context) as port:
        outcome = await check(port, tls=True, authority="orders.example")
        assert (outcome.status, outcome.warning) == ("succeeded", "certificate")
        assert outcome.certificate_days == pytest.approx(5, abs=0.1)
        assert outcome.detail == "the certificate of orders.example expires in 5.0 days"
        assert asked == ["orders.example"]
        assert (await check(port, tls=True)).detail == "the certificate is not valid: it is for another name"
        assert (await check(port, tls=True, authority="orders.example", certificate_fail_days=9)).error == "certificate"


@pytest.mark.parametrize(
    ("answer", "error", "detail"),
    [
        (healthy(NOT_SERVING), "not_serving", "the status of the service a.B is NOT_SERVING, expected SERVING"),
        (healthy(SERVICE_UNKNOWN), "not_serving", "the status of the service a.B is SERVICE_UNKNOWN, expected SERVING"),
        (healthy(b""), "not_serving", "the status of the service a.B is UNKNOWN, expected SERVING"),
        (healthy(b"\x08\x07"), "not_serving", "the status of the service a.B is 7, expected SERVING"),
        ((failing("5", "unknown service"),), "grpc_status", "the target does not know the service a.B (NOT_FOUND)"),
        ((failing("12"),), "grpc_status", "the target has no health check grpc.health.v1.Health (UNIMPLEMENTED)"),
        ((failing("14", "try%20later%0A"),), "grpc_status", "the health check failed with UNAVAILABLE: try later�"),
        ((failing("16"),), "grpc_status", "the health check failed with UNAUTHENTICATED"),
        ((failing("99"),), "grpc_status", "the health check failed with 99"),
        (healthy(status="13"), "grpc_status", "the health check failed with INTERNAL"),
        (healthy(status="ok"), "protocol", "the answer ended without a gRPC status"),
        ((http2.headers(HEADER), http2.data(framed(SERVING))), "protocol", "the answer ended without a gRPC status"),
        (
            (http2.headers({":status": "503"}, end=True),),
            "http_status",
            "the target answered with HTTP status 503, expected 200",
        ),
        (
            (http2.headers({":status": "200", "content-type": "text/html"}), http2.data(b"<html>")),
            "protocol",
            "the target does not speak gRPC: its content type is text/html",
        ),
        (
            (http2.headers({":status": "200"}, end=True),),
            "protocol",
            "the target does not speak gRPC: its content type is missing",
        ),
        (
            (
                http2.headers(HEADER),
                http2.data(framed(SERVING, flag=1), end=False),
                http2.headers({"grpc-status": "0"}, end=True),
            ),
            "protocol",
            "the answer is not that of a gRPC health check",
        ),
        (healthy(b"\x08"), "protocol", "the answer is not that of a gRPC health check"),
        (
            (http2.headers(HEADER), *[http2.data(b"a" * 5000, end=False)] * 3),
            "protocol",
            "the answer has more than 4096 bytes",
        ),
        ((http2.headers(HEADER), http2.reset(2)), "disconnected", "the target has reset the stream of HTTP/2"),
    ],
)  # fmt: skip
async def test_an_answer_that_is_not_healthy_fails(answer: tuple[bytes, ...], error: str, detail: str) -> None:
    async with service(grpc(*answer)) as port:
        outcome = await check(port, service="a.B")
    assert (outcome.error, outcome.detail) == (error, detail)


@pytest.mark.parametrize("handler", [says(OK), says(b"220 mail\r\n"), says()])
async def test_a_service_of_another_protocol_fails(handler: Any) -> None:
    async with service(handler) as port:
        outcome = await check(port)
    assert outcome.error in {"protocol", "disconnected"}
    assert "curl" not in (outcome.detail or "").lower()


async def test_a_server_of_http_1_over_tls_fails(authority: trustme.CA) -> None:
    async with service(says(OK, then_hang=True), secured(authority.issue_cert(HOST))) as port:
        outcome = await check(port, tls=True)
    assert (outcome.error, outcome.detail) == ("protocol", "the target does not speak HTTP/2")


async def test_a_server_that_never_answers_times_out_and_a_slow_one_is_a_warning() -> None:
    async with service(hangs()) as port:
        assert (await check(port, timeout=0.3)).error == "timeout"
    async with service(grpc(*healthy(), delay=0.1)) as port:
        spec = {"kind": "grpc", "host": HOST, "port": port, "tls": False}
        assert (await probe_of(spec, slow_ms=50)).warning == "slow"


async def test_a_closed_port_is_refused() -> None:
    async with service(hangs()) as port:
        pass
    outcome = await check(port)
    assert (outcome.error, outcome.detail) == ("connect", "connection refused")


async def test_a_missing_secret_is_a_failure_before_anything_is_sent() -> None:
    async with service(grpc(*healthy())) as port:
        outcome = await check(port, headers={"authorization": "secret:missing"})
    assert (outcome.error, outcome.detail) == ("secret", "the secret missing is missing")


@pytest.mark.parametrize("allowed", ["127.0.0.2", None])
async def test_only_permitted_addresses_of_a_name_are_connected_to(
    monkeypatch: pytest.MonkeyPatch, allowed: str | None
) -> None:
    monkeypatch.setattr(guard, "is_public", lambda address: address == allowed)
    reached: list[object] = []

    async def handler(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        reached.append(1)

    async def addresses(_book: AddressBook, *_: Any) -> list[str]:
        return [HOST, "127.0.0.2", "::1"]

    monkeypatch.setattr(AddressBook, "addresses", addresses)
    async with service(handler) as port:
        outcome = await check(port, allowed=Guard(), host="mixed.example")
    assert outcome.error == ("connect" if allowed else "refused_address")
    assert reached == []


async def test_the_next_address_of_a_name_is_called_if_the_first_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    async def addresses(_book: AddressBook, *_: Any) -> list[str]:
        return ["127.0.0.2", HOST]

    monkeypatch.setattr(AddressBook, "addresses", addresses)
    async with service(grpc(*healthy())) as port:
        assert (await check(port, host="a.example")).status == "succeeded"


@given(st.binary(max_size=40))
@PROPERTY
def test_any_message_has_a_status_or_is_invalid(message: bytes) -> None:
    for response in (message, framed(message)):
        with suppress(ValueError):
            assert health_messages.status(response)


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (SERVING, "SERVING"),
        (b"\x12\x02ab\x08\x01", "SERVING"),  # fields of a later version are skipped
        (b"\x11" + bytes(8) + b"\x1d" + bytes(4) + b"\x08\x02", "NOT_SERVING"),
        (b"\x08\x02\x08\x01", "SERVING"),  # the last value counts
    ],
)
def test_unknown_fields_are_skipped(message: bytes, status: str) -> None:
    assert health_messages.status(framed(message)) == status


@pytest.mark.parametrize("length", [1, 127, 128, 255])
def test_the_length_of_a_service_is_encoded(length: int) -> None:
    request = health_messages.request("a" * length)
    assert request[:5] == framed(request[5:])[:5]
    assert request.endswith(b"a" * length)
