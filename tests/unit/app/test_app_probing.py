"""The probing client against hostile servers: every probe ends, in bounds, with the right error."""

import asyncio
import gzip
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
import trustme

from netmon import guard, probing, tracing
from netmon.guard import Guard
from netmon.models import Outcome, Plan
from netmon.probing import OUTCOMES, Prober, ping
from netmon.probing.errors import MAX_DETAIL
from netmon.probing.http import MAX_BODY, MAX_REDIRECTS
from tests.unit.app.servers import OK, answers, name_server, redirects, server

pytestmark = pytest.mark.anyio

EVERYWHERE = Guard(private=True)


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both event loops: the worker's is uvloop."""
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "RETRY_PAUSE", 0)


async def carry_out(plan: Plan, allowed: Guard = EVERYWHERE) -> Outcome:
    async with Prober(allowed, "test") as prober:
        outcome = await prober.probe(plan)
    assert (outcome.error or outcome.status) in OUTCOMES
    assert (outcome.error is None) == (outcome.status == "succeeded")
    return outcome


async def probe(url: str, timeout: float = 5, allowed: Guard = EVERYWHERE, **spec: Any) -> Outcome:
    plan = Plan.model_validate({"spec": {"kind": "http", "url": url, **spec}, "timeout_seconds": timeout})
    return await carry_out(plan, allowed)


def only(url: str) -> Guard:
    """A guard with one exception, as in production."""
    return Guard.parse(url.split("/")[2])


# --- HTTP ------------------------------------------------------------------------------------------------------------


async def test_a_good_answer_is_a_success() -> None:
    async with server(answers(OK)) as url:
        outcome = await probe(url)
    assert (outcome.status, outcome.http_status, outcome.error, outcome.detail) == ("succeeded", 200, None, None)
    assert (outcome.attempts, outcome.warning, outcome.certificate_days) == (1, None, None)
    assert 0 < outcome.duration_ms < 5000


async def test_an_address_of_ipv6_alone() -> None:
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
async def test_the_status_decides(code: int, expected: list[int], status: str) -> None:
    async with server(answers(b"HTTP/1.1 %d X\r\nLocation: /\r\nContent-Length: 0\r\n\r\n" % code)) as url:
        outcome = await probe(url, expected_status=expected)
    assert (outcome.status, outcome.http_status) == (status, code)
    assert outcome.error == ("http_status" if status == "failed" else None)


async def test_method_and_headers_are_sent() -> None:
    heads: list[bytes] = []

    async with listening(heads) as url:
        await probe(url, method="POST", headers={"X-Key": "secret", "User-Agent": "mine"})
    [head] = heads
    assert head.startswith(b"post / http/1.1\r\n")
    assert b"x-key: secret\r\n" in head
    assert b"user-agent: mine\r\n" in head
    assert b"network-monitor" not in head


async def test_the_target_learns_no_ids(spans: object) -> None:
    heads: list[bytes] = []
    async with listening(heads) as url:
        with tracing.span("probe", carrier={"x-request-id": "mine"}):
            await probe(url)
            assert "traceparent" in tracing.carrier(), "there is one that could have been sent"
    [head] = heads
    assert b"user-agent: network-monitor/test" in head
    for word in (b"traceparent", b"tracestate", b"baggage", b"x-request-id", b"mine"):
        assert word not in head


@pytest.mark.parametrize("same", [True, False])
async def test_headers_are_for_the_target_alone(same: bool) -> None:
    heads: list[bytes] = []
    async with listening(heads) as elsewhere:
        if same:
            base = elsewhere
            outcome = await probe(elsewhere, headers={"X-Key": "secret", "User-Agent": "mine"})
        else:
            async with server(redirects(elsewhere)) as base:
                outcome = await probe(base, headers={"X-Key": "secret", "User-Agent": "mine"})
    assert outcome.status == "succeeded"
    [head] = heads
    assert (b"secret" in head) is same


async def test_a_redirect_loop_ends() -> None:
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
async def test_a_redirect_to_nowhere_is_an_error(location: str) -> None:
    async with server(redirects(location)) as url:
        assert (await probe(url)).error in {"protocol", "dns"}


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


@pytest.mark.parametrize(
    ("before", "found"), [(0, True), (MAX_BODY - 6, True), (MAX_BODY - 5, False), (MAX_BODY, False)]
)
async def test_text_is_looked_for_in_the_first_mebibyte(before: int, found: bool) -> None:
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
        ("zip", "größe".encode()),  # a codec of Python, but none of text
    ],
)
async def test_text_is_looked_for_in_the_charset_of_the_body(charset: str, body: bytes) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset={charset}\r\nConnection: close\r\n\r\n".encode()
    async with server(answers(head, body)) as url:
        assert (await probe(url, body_contains="größe")).status == "succeeded"


async def test_a_compressed_body_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(64 * MAX_BODY))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    async with server(answers(head, bomb)) as url:
        assert (await probe(url)).status == "succeeded"
        outcome = await probe(url, body_contains="x")
    assert outcome.error == "body"
    assert "compressed" in (outcome.detail or "")


async def test_nothing_compressed_is_asked_for() -> None:
    heads: list[bytes] = []
    async with listening(heads) as url:
        await probe(url)
    assert b"accept-encoding: identity\r\n" in heads[0]


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
    assert outcome.http_status == (200 if head else None)
    assert time.perf_counter() - started < 2


async def test_interim_answers_for_ever_run_into_the_time_out() -> None:
    async def interim(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
            await writer.drain()
            await asyncio.sleep(0.01)

    async with server(interim) as url:
        assert (await probe(url, timeout=0.3)).error in {"timeout", "disconnected", "protocol"}


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


async def test_what_is_not_http_is_refused_and_its_words_are_harmless() -> None:
    async with server(answers(b"SSH-2.0-\x00\x1b[31m\xff" + b"x" * 5000 + b"\r\n\r\n")) as url:
        outcome = await probe(url)
    assert outcome.error == "protocol"
    assert outcome.detail
    assert outcome.detail.isprintable()
    assert len(outcome.detail) <= MAX_DETAIL
    outcome.model_dump_json()


async def test_a_connection_closed_without_an_answer() -> None:
    async with server(answers()) as url:
        assert (await probe(url)).error == "disconnected"


async def test_a_closed_port_and_an_unknown_host() -> None:
    async with server(answers(OK)) as url:
        pass
    assert (await probe(url)).error == "connect"
    assert (await probe("http://nowhere.invalid/")).error == "dns"


def listening(heads: list[bytes]) -> Any:
    """A server that keeps the heads of its requests, in lower case."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).lower())
        writer.write(OK)
        await writer.drain()
        writer.close()

    class Listening:
        async def __aenter__(self) -> str:
            self.server = await asyncio.start_server(serve, "127.0.0.1", 0)
            return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/"

        async def __aexit__(self, *_: object) -> None:
            self.server.close()

    return Listening()


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> trustme.CA:
    """One that this host trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return authority


def tls(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.mark.parametrize(("days", "warning"), [(90, None), (5, "certificate")])
async def test_the_days_that_a_certificate_is_valid(authority: trustme.CA, days: int, warning: str | None) -> None:
    certificate = authority.issue_cert("127.0.0.1", not_after=datetime.now(UTC) + timedelta(days=days))
    async with server(answers(OK), tls=tls(certificate)) as url:
        outcome = await probe(url, certificate_days=14)
    assert (outcome.status, outcome.warning) == ("succeeded", warning)
    assert outcome.certificate_days == pytest.approx(days, abs=0.1)
    assert ("expires" in (outcome.detail or "")) is bool(warning)


async def test_the_certificate_is_that_of_the_last_answer(authority: trustme.CA) -> None:
    certificate = authority.issue_cert("127.0.0.1")
    async with server(answers(OK)) as plain, server(redirects(plain), tls=tls(certificate)) as url:
        assert (await probe(url)).certificate_days is None
    async with server(answers(OK), tls=tls(certificate)) as secure, server(redirects(secure)) as url:
        assert (await probe(url)).certificate_days is not None


@pytest.mark.parametrize("fault", ["unknown authority", "another name", "expired"])
async def test_invalid_tls_is_refused(authority: trustme.CA, fault: str) -> None:
    if fault == "unknown authority":
        certificate = trustme.CA().issue_cert("127.0.0.1")
    elif fault == "another name":
        certificate = authority.issue_cert("example.org")
    else:
        certificate = authority.issue_cert("127.0.0.1", not_after=datetime.now(UTC) - timedelta(days=1))
    async with server(answers(OK), tls=tls(certificate)) as url:
        assert (await probe(url)).error == "tls"


async def test_plain_text_on_a_tls_port_is_refused() -> None:
    async with server(answers(OK)) as url:
        assert (await probe(url.replace("http:", "https:"), timeout=1)).error in {"tls", "disconnected", "timeout"}


# --- Attempts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("retries", "status", "attempts"), [(0, "failed", 1), (1, "failed", 2), (4, "succeeded", 3)])
async def test_a_failed_attempt_is_repeated(retries: int, status: str, attempts: int) -> None:
    requests = 0

    async def third_time(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        requests += 1
        writer.write(OK if requests == 3 else OK.replace(b"200", b"500"))

    async with server(third_time) as url:
        plan = Plan.model_validate({"spec": {"kind": "http", "url": url}, "retries": retries})
        outcome = await carry_out(plan)
    assert (outcome.status, outcome.attempts, requests) == (status, attempts, attempts)


async def test_every_attempt_has_the_whole_time_out() -> None:
    async def hang(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)

    started = time.perf_counter()
    async with server(hang) as url:
        plan = Plan.model_validate({"spec": {"kind": "http", "url": url}, "retries": 2, "timeout_seconds": 0.2})
        outcome = await carry_out(plan)
    assert (outcome.error, outcome.attempts) == ("timeout", 3)
    assert 0.6 <= time.perf_counter() - started < 2
    assert 200 <= outcome.duration_ms < 600


async def test_a_slow_success_is_a_warning() -> None:
    async def slow(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        writer.write(OK)

    async with server(slow) as url:
        plan = Plan.model_validate({"spec": {"kind": "http", "url": url}, "slow_ms": 50})
        outcome = await carry_out(plan)
    assert (outcome.status, outcome.warning) == ("succeeded", "slow")
    assert "more than 50 ms" in (outcome.detail or "")


# --- TCP and ping ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_tcp_connection(host: str) -> None:
    async with server(answers(), host=host) as url:
        port = int(url.rstrip("/").rpartition(":")[2])
        plan = Plan.model_validate({"spec": {"kind": "tcp", "host": host, "port": port}})
        assert (await carry_out(plan)).status == "succeeded"
    assert (await carry_out(plan)).error == "connect"


async def test_an_unknown_host_has_no_port() -> None:
    plan = Plan.model_validate({"spec": {"kind": "tcp", "host": "nowhere.invalid", "port": 80}})
    assert (await carry_out(plan)).error == "dns"


async def test_a_lookup_that_hangs_is_cut_off_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    lookup = socket.getaddrinfo

    def slow(host: str, *arguments: Any) -> Any:
        if host == "slow.example":
            time.sleep(0.5)
        return lookup("127.0.0.1", *arguments)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    async with server(answers()) as url, Prober(EVERYWHERE, "test") as prober:
        port = int(url.rstrip("/").rpartition(":")[2])

        async def connect(host: str, timeout: float) -> Outcome:
            spec = {"kind": "tcp", "host": host, "port": port}
            return await prober.probe(Plan.model_validate({"spec": spec, "timeout_seconds": timeout}))

        *hanging, fine = await asyncio.gather(
            *(connect("slow.example", 0.2) for _ in range(20)), connect("quick.example", 0.4)
        )
    assert {outcome.error for outcome in hanging} == {"timeout"}
    assert fine.status == "succeeded"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_a_ping_of_this_host(host: str) -> None:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP).close()
    except PermissionError:
        pytest.skip("this host's net.ipv4.ping_group_range leaves this group out; containers have another one")
    assert (await carry_out(Plan.model_validate({"spec": {"kind": "ping", "host": host}}))).status == "succeeded"


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The other end of what is pinged through."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setblocking(False)
    far.setblocking(False)
    monkeypatch.setattr(ping, "_connected", lambda _address: near)
    monkeypatch.setattr(ping, "_TYPES", {socket.AF_UNIX: (8, 0)})
    with near, far:
        yield far


@pytest.mark.parametrize("fault", ["", "another type", "another token", "too short"])
async def test_only_the_reply_to_the_request_counts(wire: socket.socket, fault: str) -> None:
    async def reply() -> None:
        request = await asyncio.get_running_loop().sock_recv(wire, 100)
        assert request[:8] == bytes([8, 0, 0, 0, 0, 0, 0, 1])
        answers = {
            "": b"\0" + request[1:],
            "another type": b"\3" + request[1:],
            "another token": b"\0" + request[1:8] + bytes(16),
            "too short": b"",
        }
        wire.send(answers[fault])

    plan = Plan.model_validate({"spec": {"kind": "ping", "host": "127.0.0.1"}, "timeout_seconds": 0.3})
    outcome, _ = await asyncio.gather(carry_out(plan), reply())
    assert outcome.error == ("timeout" if fault else None)


def test_a_host_that_forbids_pings_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", forbidden)
        with pytest.raises(OSError, match="ping_group_range"):
            ping._connected("127.0.0.1")


# --- DNS -------------------------------------------------------------------------------------------------------------

ZONE = {
    ("example.org.", "A"): ["93.184.216.34", "93.184.216.35"],
    ("example.org.", "AAAA"): ["2606:2800:220:1::1"],
    ("example.org.", "MX"): ["10 mail.example.org."],
    ("example.org.", "TXT"): ['"v=spf1 " "-all"'],
    ("example.org.", "CAA"): ['0 issue "ca.example"'],
    ("db.", "A"): ["172.20.0.5"],
    ("mixed.example.", "A"): ["93.184.216.34", "10.0.0.1"],
    ("inside.example.", "AAAA"): ["fd00::1"],
}


def from_zone(question: dns.message.Message) -> bytes:
    asked = question.question[0]
    answer = dns.message.make_response(question)
    kind = dns.rdatatype.to_text(asked.rdtype)
    if values := ZONE.get((str(asked.name), kind)):
        answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", kind, *values))
    elif str(asked.name) not in {name for name, _ in ZONE}:
        answer.set_rcode(dns.rcode.NXDOMAIN)
    return answer.to_wire()


async def ask(
    monkeypatch: pytest.MonkeyPatch,
    reply: Any,
    name: str = "example.org",
    record: str = "A",
    expected: tuple[str, ...] = (),
    allowed: Guard = EVERYWHERE,
) -> Outcome:
    async with name_server(reply) as resolver:
        with monkeypatch.context() as patch:
            patch.setattr(dns.asyncresolver, "Resolver", lambda: resolver)
            spec = {"kind": "dns", "name": name, "record": record, "expected": list(expected)}
            return await carry_out(Plan.model_validate({"spec": spec, "timeout_seconds": 0.5}), allowed)


@pytest.mark.parametrize(
    ("record", "expected", "error"),
    [
        ("A", (), None),
        ("A", ("93.184.216.35",), None),
        ("A", ("93.184.216.36",), "answer"),
        ("AAAA", ("2606:2800:0220:0001:0:0:0:1",), None),
        ("MX", ("10 MAIL.example.org.",), None),
        ("MX", ("10 mail.example.org",), None),
        ("MX", ("20 mail.example.org.",), "answer"),
        ("TXT", ("v=spf1 -all",), None),
        ("TXT", ('"v=spf1 -all"',), None),
        ("TXT", ('"v=spf1" " -all"',), None),
        ("TXT", ("v=spf1",), "answer"),
        ("CAA", ('0 issue "ca.example"',), None),
        ("NS", (), "no_answer"),
    ],
)
async def test_the_answers_of_dns(
    monkeypatch: pytest.MonkeyPatch, record: str, expected: tuple[str, ...], error: str | None
) -> None:
    outcome = await ask(monkeypatch, from_zone, record=record, expected=expected, allowed=Guard())
    assert outcome.error == error


async def test_a_name_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await ask(monkeypatch, from_zone, name="nowhere.example")).error == "no_answer"


@pytest.mark.parametrize(("name", "record"), [("db", "A"), ("mixed.example", "A"), ("inside.example", "AAAA")])
async def test_internal_names_are_not_told(monkeypatch: pytest.MonkeyPatch, name: str, record: str) -> None:
    assert (await ask(monkeypatch, from_zone, name=name, record=record)).status == "succeeded"
    outcome = await ask(monkeypatch, from_zone, name=name, record=record, allowed=Guard.parse(f"{name}:5432"))
    assert outcome.error == "refused_address"
    for (_, kind), values in ZONE.items():
        assert kind not in ("A", "AAAA") or not any(value in (outcome.detail or "") for value in values)


def refused(question: dns.message.Message) -> bytes:
    answer = dns.message.make_response(question)
    answer.set_rcode(dns.rcode.REFUSED)
    return answer.to_wire()


def for_another_name(question: dns.message.Message) -> bytes:
    answer = dns.message.make_response(question)
    answer.answer.append(dns.rrset.from_text("other.example.", 60, "IN", "A", "93.184.216.34"))
    return answer.to_wire()


def a_loop(question: dns.message.Message) -> bytes:
    answer = dns.message.make_response(question)
    answer.answer.append(dns.rrset.from_text("example.org.", 60, "IN", "CNAME", "b.example."))
    answer.answer.append(dns.rrset.from_text("b.example.", 60, "IN", "CNAME", "example.org."))
    return answer.to_wire()


def with_another_id(question: dns.message.Message) -> bytes:
    answer = bytearray(from_zone(question))
    answer[0] ^= 0xFF
    return bytes(answer)


def truncated(question: dns.message.Message) -> bytes:
    answer = dns.message.make_response(question)
    answer.flags |= dns.flags.TC  # and nobody listens on TCP
    return answer.to_wire()


@pytest.mark.parametrize(
    ("reply", "errors"),
    [
        (lambda _: None, {"timeout"}),
        (lambda _: b"", {"timeout", "dns"}),
        (lambda question: question.to_wire()[:2] + bytes(1), {"timeout", "dns"}),
        (lambda question: question.to_wire()[:2] + b"\x81\x80" + b"\xff" * 400, {"timeout", "dns"}),
        (lambda question: from_zone(question)[:-3], {"timeout", "dns"}),
        (with_another_id, {"timeout", "dns"}),
        (for_another_name, {"no_answer", "dns"}),
        (a_loop, {"no_answer", "dns"}),
        (refused, {"dns"}),
        (truncated, {"timeout", "dns"}),
    ],
)
async def test_invalid_answers_of_dns(monkeypatch: pytest.MonkeyPatch, reply: Any, errors: set[str]) -> None:
    started = time.perf_counter()
    assert (await ask(monkeypatch, reply)).error in errors
    assert time.perf_counter() - started < 2


# --- The guard -------------------------------------------------------------------------------------------------------


def names(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Let the system's resolver say this, one answer after another; the names that it is asked for."""
    asked: list[str] = []
    left = list(answers)

    def lookup(host: str, port: int | None, *_: Any) -> list[Any]:
        asked.append(host)
        found = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET6 if ":" in each else socket.AF_INET, 1, 6, "", (each, port or 0)) for each in found]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return asked


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "http", "url": "http://db:5432/"},
        {"kind": "http", "url": "https://db./"},
        {"kind": "http", "url": "http://app:3001/"},
        {"kind": "tcp", "host": "kafka", "port": 29092},
        {"kind": "tcp", "host": "rabbitmq", "port": 5672},
        {"kind": "ping", "host": "redis"},
        {"kind": "ping", "host": "app"},
    ],
)
@pytest.mark.parametrize("address", ["172.20.0.5", "fd00::5", "::ffff:172.20.0.5"])
async def test_the_platforms_own_hosts_are_out_of_reach(
    monkeypatch: pytest.MonkeyPatch, spec: dict[str, Any], address: str
) -> None:
    names(monkeypatch, [address])
    outcome = await carry_out(Plan.model_validate({"spec": spec, "retries": 2}), Guard.parse("app:3000"))
    assert (outcome.error, outcome.attempts) == ("refused_address", 1)
    assert address not in (outcome.detail or "")


async def test_an_exception_is_of_a_host_and_its_port(monkeypatch: pytest.MonkeyPatch) -> None:
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
    async with listening(reached) as inside:
        port = inside.rstrip("/").rpartition(":")[2]
        async with server(redirects(f"http://{host}:{port}/", 307)) as url:
            allowed = only(url)
            if host == "inside":
                names(monkeypatch, ["127.0.0.1"])
            assert (await probe(url, allowed=allowed)).error == "refused_address"
    assert reached == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1", "0177.0.0.1", "0"])
async def test_other_spellings_of_an_address_lead_nowhere(host: str) -> None:
    reached: list[bytes] = []
    async with listening(reached) as inside:
        port = inside.rstrip("/").rpartition(":")[2]
        assert (await probe(f"http://{host}:{port}/", allowed=Guard())).error in {"protocol", "refused_address", "dns"}
    assert reached == []


async def test_a_name_that_changes_its_address_is_of_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: what is checked is what is connected to, however often the name would be asked for again."""
    monkeypatch.setattr(guard, "is_public", lambda address: address == "127.0.0.2")
    async with server(answers(OK), host="127.0.0.2") as url:
        port = url.rstrip("/").rpartition(":")[2]
        asked = names(monkeypatch, ["127.0.0.2"], ["127.0.0.1"])
        assert (await probe(f"http://rebound.example:{port}/", allowed=Guard())).status == "succeeded"
        assert asked == ["rebound.example"]
        assert (await probe(f"http://rebound.example:{port}/", allowed=Guard())).error == "refused_address"


async def test_of_many_addresses_only_the_public_ones_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "is_public", lambda address: address == "127.0.0.2")
    reached: list[bytes] = []
    async with listening(reached) as inside:
        port = inside.rstrip("/").rpartition(":")[2]
        names(monkeypatch, ["127.0.0.1", "127.0.0.2", "::1"])
        assert (await probe(f"http://mixed.example:{port}/", allowed=Guard())).error == "connect"
    assert reached == []
