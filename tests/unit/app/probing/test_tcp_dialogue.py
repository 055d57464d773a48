"""Targets of the kind tcp that agree on TLS, send something and expect an answer."""

import asyncio
import socket
import ssl
import struct
from typing import Any

import pytest
import trustme

from netmon.guard import Guard
from netmon.models import Outcome
from netmon.probing import starttls, tcp
from tests.unit.app.probing.probes import ENDED
from tests.unit.app.probing.servers import Handler
from tests.unit.app.probing.services import HOST, expiring, hangs, probe_of, says, secured, service

pytestmark = pytest.mark.anyio


async def talk(port: int, timeout: float = 5, **settings: Any) -> Outcome:
    return await probe_of({"kind": "tcp", "host": HOST, "port": port, **settings}, timeout)


def replies(question: bytes, *answer: bytes) -> Handler:
    """Read a question, then send the parts of an answer."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(len(question)) == question
        for part in answer:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)
        await reader.read()

    return handler


async def test_the_expected_text_is_found_in_the_answer_to_what_was_sent() -> None:
    async with service(replies(b"PING\r\n\x00\xff\\", b"+PO", b"NG\r\n")) as port:
        outcome = await talk(port, send=r"PING\r\n\x00\xFF\\", expect=r"PONG\r")
    assert (outcome.status, outcome.detail) == ("succeeded", None)
    assert list(outcome.phases) == ["lookup", "connect"]


async def test_a_banner_is_expected_without_sending_anything() -> None:
    async with service(says(b"SSH-2.0-OpenSSH_10.0\r\n", then_hang=True)) as port:
        assert (await talk(port, expect="SSH-2.0-")).status == "succeeded"


@pytest.mark.parametrize(
    ("expression", "detail"),
    [
        (r"^SSH-2[.]0-\w+_1\d", None),
        ("(?i)openssh.*\\r\\n$", None),
        ("_9", r"the answer does not match '_9': found 'SSH-2.0-OpenSSH_10.0\r\n'"),
    ],
)
async def test_an_answer_matches_a_regular_expression(expression: str, detail: str | None) -> None:
    async with service(says(b"SSH-2.0-", b"OpenSSH_10.0\r\n")) as port:
        outcome = await talk(port, expect_matches=expression)
    assert (outcome.error, outcome.detail) == ("answer" if detail else None, detail)


async def test_text_is_sent_without_an_expectation() -> None:
    arrived: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def handler(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        arrived.set_result(await reader.read())

    async with service(handler) as port:
        assert (await talk(port, send="metric 1")).status == "succeeded"
        async with asyncio.timeout(ENDED):
            assert await arrived == b"metric 1"


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        ((b"-ERR no\r\n",), r"the answer does not contain '+PONG': found '-ERR no\r\n'"),
        ((), "the answer does not contain '+PONG': found empty"),
        ((b"\xff\x00<", b"b>"), "the answer does not contain '+PONG': found '\\xff\\x00<b>'"),
    ],
)
async def test_another_answer_fails_with_what_was_found(answer: tuple[bytes, ...], detail: str) -> None:
    async with service(says(*answer)) as port:
        outcome = await talk(port, expect="+PONG")
    assert (outcome.error, outcome.detail) == ("answer", detail)


async def test_an_answer_byte_by_byte_is_not_searched_at_each_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[int] = []
    described = tcp._described

    def counted(answer: bytes) -> str:
        searched.append(len(answer))
        return described(answer)

    monkeypatch.setattr(tcp, "_described", counted)

    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(200):
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.001)
        writer.write(b"b")

    async with service(handler) as port:
        assert (await talk(port, timeout=20, expect="b")).status == "succeeded"
    assert len(searched) < 100


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send the start of an answer, and reset the connection."""
    writer.write(b"220 ")
    await writer.drain()
    await asyncio.sleep(0.05)
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize(
    ("settings", "before"),
    [({"expect": "ready"}, "the answer was complete"), ({"starttls": "smtp"}, "STARTTLS")],
)
async def test_a_connection_that_is_reset_fails(settings: dict[str, Any], before: str) -> None:
    async with service(resets) as port:
        outcome = await talk(port, **settings)
    assert (outcome.error, outcome.detail) == ("disconnected", f"the connection was closed before {before}")


async def test_an_endless_answer_is_read_up_to_a_limit() -> None:
    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"a" * 10_000)
            await writer.drain()

    async with service(handler) as port:
        outcome = await talk(port, timeout=20, expect="b")
    assert outcome.error == "answer"
    assert (outcome.detail or "").startswith(
        f"the first {tcp.MAX_ANSWER} bytes of the answer do not contain 'b': found"
    )


async def test_an_answer_that_does_not_come_times_out_with_what_was_found() -> None:
    async with service(says(b"wait ", b"a moment", then_hang=True)) as port:
        outcome = await talk(port, timeout=0.5, expect="ready")
    assert outcome.error == "timeout"
    assert outcome.detail == "no complete response within 0.5 s: the answer so far is 'wait a moment'"


async def test_tls_from_the_beginning(authority: trustme.CA) -> None:
    async with service(replies(b"a", b"b"), secured(expiring(authority, 5))) as port:
        outcome = await talk(port, tls=True, send="a", expect="b")
    assert (outcome.status, outcome.warning) == ("succeeded", "certificate")
    assert outcome.certificate_days == pytest.approx(5, abs=0.1)
    assert list(outcome.phases) == ["lookup", "connect", "tls"]


@pytest.mark.parametrize(
    ("names", "settings", "error"),
    [
        (("shop.example",), {"server_name": "shop.example"}, None),
        (("shop.example",), {}, "tls"),
        ((HOST,), {"certificate_fail_days": 200}, "certificate"),
    ],
)
async def test_certificates_are_verified(
    authority: trustme.CA, names: tuple[str, ...], settings: dict[str, Any], error: str | None
) -> None:
    async with service(hangs(), secured(expiring(authority, 90, *names))) as port:
        assert (await talk(port, tls=True, **settings)).error == error


class Mail:
    """A mail server: its lines before the handshake, each sent after a line of the client, and then a line in TLS."""

    def __init__(self, context: ssl.SSLContext, *lines: bytes) -> None:
        self.received: list[bytes] = []
        self._context = context
        self._lines = lines

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number, line in enumerate(self._lines):
            if number:
                self.received.append(await reader.readline())
            writer.write(line)
            await writer.drain()
        await writer.start_tls(self._context)
        writer.write(b"in secret\r\n")
        await writer.drain()
        await reader.read()


DIALOGUES = {
    "smtp": (
        (b"220-mail\r\n220 ready\r\n", b"250-mail\r\n250-STARTTLS\r\n250 HELP\r\n", b"220 go ahead\r\n"),
        [b"EHLO [127.0.0.1]\r\n", b"STARTTLS\r\n"],
    ),
    "imap": ((b"* OK ready\r\n", b"* CAPABILITY IMAP4\r\na1 OK begin\r\n"), [b"a1 STARTTLS\r\n"]),
    "pop3": ((b"+OK ready\r\n", b"+OK begin\r\n"), [b"STLS\r\n"]),
}


@pytest.mark.parametrize("protocol", list(DIALOGUES))
async def test_a_connection_changes_to_tls(authority: trustme.CA, protocol: str) -> None:
    lines, expected = DIALOGUES[protocol]
    mail = Mail(secured(expiring(authority, 90)), *lines)
    async with service(mail) as port:
        outcome = await talk(port, starttls=protocol, expect="in secret")
    assert (outcome.status, outcome.detail) == ("succeeded", None)
    assert outcome.certificate_days == pytest.approx(90, abs=0.1)
    assert mail.received == expected


@pytest.mark.parametrize(
    ("protocol", "answers", "error", "detail"),
    [
        ("smtp", [b"554 no service\r\n"], "starttls", "the greeting was '554 no service', expected 220"),
        ("smtp", [b"HTTP/1.1 400 Bad\r\n"], "starttls", "the greeting was 'HTTP/1.1 400 Bad', expected 220"),
        ("smtp", [b"220 a\r\n", b"502 what?\r\n"], "starttls", "the answer to EHLO was '502 what?', expected 250"),
        (
            "smtp",
            [b"220 a\r\n", b"250 a\r\n", b"454 TLS is not available\r\n"],
            "starttls",
            "the answer to STARTTLS was '454 TLS is not available', expected 220",
        ),
        ("smtp", [b"220 a\r\n", b"250 a\r\n", b"220 go\r\n250 more\r\n"], "starttls",
         "the target sent data between its answer to STARTTLS and the handshake"),
        ("smtp", [b"220 a\r\n", b"250-a\r\n" * 101], "starttls", "the answer to EHLO has more than 100 lines"),
        ("smtp", [b"2" * 5000], "starttls", "the target sent a line of more than 2048 bytes"),
        ("smtp", [b""], "disconnected", "the connection was closed before STARTTLS"),
        ("imap", [b"* BYE\r\n"], "starttls", "the greeting was '* BYE', expected * OK"),
        ("imap", [b"* OK\r\n", b"a1 BAD no\r\n"], "starttls", "the answer to STARTTLS was 'a1 BAD no', expected a1 OK"),
        ("imap", [b"* OK\r\n", b"* a\r\n" * 101], "starttls", "the answer to STARTTLS has more than 100 lines"),
        ("pop3", [b"-ERR\r\n"], "starttls", "the greeting was '-ERR', expected +OK"),
        ("pop3", [b"+OK\r\n", b"-ERR no\r\n"], "starttls", "the answer to STLS was '-ERR no', expected +OK"),
    ],
)  # fmt: skip
async def test_a_server_that_does_not_change_to_tls_fails(
    protocol: str, answers: list[bytes], error: str, detail: str
) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number, answer in enumerate(answers):
            if number:
                await reader.readline()
            writer.write(answer)
            await writer.drain()
        if answers != [b""]:
            await reader.read()

    async with service(handler) as port:
        outcome = await talk(port, starttls=protocol)
    assert (outcome.error, outcome.detail) == (error, detail)


async def test_the_limit_of_lines_is_the_one_of_the_test_above() -> None:
    assert (starttls.MAX_LINES, starttls.MAX_LINE) == (100, 2048)


async def test_a_silent_mail_server_times_out() -> None:
    async with service(hangs()) as port:
        assert (await talk(port, timeout=0.3, starttls="smtp")).error == "timeout"


@pytest.mark.parametrize("settings", [{"tls": True}, {"starttls": "smtp"}, {"send": "a", "expect": "b"}])
async def test_the_guard_refuses_private_addresses_whatever_is_spoken(settings: dict[str, Any]) -> None:
    reached: list[object] = []

    async def handler(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        reached.append(1)

    async with service(handler) as port:
        spec = {"kind": "tcp", "host": HOST, "port": port, **settings}
        assert (await probe_of(spec, allowed=Guard())).error == "refused_address"
    assert reached == []
