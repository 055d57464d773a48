"""Targets of the kind tls: handshakes, names, versions, and days until certificates expire."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from netmon.guard import Guard
from netmon.models import Outcome, Plan
from netmon.probing import Prober
from tests.unit.app.probing.probes import EVERYWHERE
from tests.unit.app.probing.services import HOST, expiring, hangs, probe_of, says, secured, service

pytestmark = pytest.mark.anyio


async def handshake(port: int, timeout: float = 5, **settings: Any) -> Outcome:
    return await probe_of({"kind": "tls", "host": HOST, "port": port, **settings}, timeout)


@pytest.mark.parametrize("host", [HOST, "::1", "localhost"])
async def test_a_valid_certificate_succeeds_with_its_days_and_phases(authority: trustme.CA, host: str) -> None:
    listening = "::1" if host == "::1" else HOST
    async with service(hangs(), secured(expiring(authority, 90, host)), listening) as port:
        outcome = await handshake(port, host=host)
    assert (outcome.status, outcome.warning, outcome.detail) == ("succeeded", None, None)
    assert outcome.certificate_days == pytest.approx(90, abs=0.1)
    assert list(outcome.phases) == ["lookup", "connect", "tls"]


@pytest.mark.parametrize(
    ("days", "limits", "expected"),
    [
        (5, {}, ("succeeded", "certificate", None, f"the certificate of {HOST} expires in 5.0 days")),
        (5, {"certificate_days": 4}, ("succeeded", None, None, None)),
        (5, {"certificate_days": 4, "certificate_fail_days": 5}, ("succeeded", None, None, None)),
        (
            5,
            {"certificate_fail_days": 6},
            ("failed", None, "certificate", f"the certificate of {HOST} expires in 5.0 days, expected at least 6"),
        ),
        (-1, {}, ("failed", None, "tls", "the certificate is not valid: it has expired")),
    ],
)  # fmt: skip
async def test_a_certificate_about_to_expire_is_a_warning_and_then_a_failure(
    authority: trustme.CA, days: float, limits: dict[str, Any], expected: tuple[str, ...]
) -> None:
    async with service(hangs(), secured(expiring(authority, days + 0.01))) as port:
        outcome = await handshake(port, **limits)
    assert (outcome.status, outcome.warning, outcome.error, outcome.detail) == expected


@pytest.mark.parametrize(("limit", "outcome"), [("certificate_days", "certificate"), ("certificate_fail_days", None)])
async def test_the_certificate_of_the_chain_that_ends_first_is_named(
    authority: trustme.CA, tmp_path: Path, limit: str, outcome: str | None
) -> None:
    leaf = expiring(authority, 90)
    extra = expiring(trustme.CA(), 20)  # in the position of an intermediate certificate
    chain = tmp_path / "chain.pem"
    chain.write_bytes(leaf.private_key_and_cert_chain_pem.bytes() + extra.cert_chain_pems[0].bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    settings: dict[str, Any] = {limit: 30}
    async with service(hangs(), context) as port:
        found = await handshake(port, **settings)
    assert found.warning == outcome
    assert found.certificate_days == pytest.approx(90, abs=0.1)
    assert (found.detail or "").startswith("the intermediate certificate expires in 20.0 days")


async def test_the_server_name_is_asked_for_and_verified(authority: trustme.CA) -> None:
    asked: list[str] = []
    context = secured(authority.issue_cert("shop.example"))
    context.sni_callback = lambda _session, name, _context: asked.append(name)
    async with service(hangs(), context) as port:
        assert (await handshake(port, server_name="shop.example")).status == "succeeded"
        assert asked == ["shop.example"]
        outcome = await handshake(port)
    assert (outcome.error, outcome.detail) == ("tls", "the certificate is not valid: it is for another name")


async def test_the_lowest_version_is_negotiated(authority: trustme.CA) -> None:
    context = secured(authority.issue_cert(HOST), maximum_version=ssl.TLSVersion.TLSv1_2)
    async with service(hangs(), context) as port:
        assert (await handshake(port)).status == "succeeded"
        assert (await handshake(port, minimum_version="1.3")).error == "tls"


@pytest.mark.parametrize(
    ("alert", "detail"),
    [
        (70, "the target does not support TLS 1.3 or newer"),
        (40, "alert handshake failure"),
        (112, "unrecognized name"),
    ],
)
async def test_an_alert_of_the_server_has_a_sentence(alert: int, detail: str) -> None:
    record = bytes([21, 3, 3, 0, 2, 2, alert])
    async with service(says(record, then_hang=True)) as port:
        outcome = await handshake(port, minimum_version="1.3")
    assert (outcome.error, outcome.detail) == ("tls", f"the TLS handshake failed: {detail}")


@pytest.mark.parametrize(
    ("handler", "details"),
    [
        (says(b"220 plain text\r\n"), {"wrong version number", "record layer failure", "packet length too long"}),
        (says(), {"the connection was closed", "the connection was reset"}),
    ],
)
async def test_a_service_without_tls_fails(handler: Any, details: set[str]) -> None:
    async with service(handler) as port:
        outcome = await handshake(port)
    assert outcome.error == "tls"
    assert outcome.detail in {f"the TLS handshake failed: {each}" for each in details}


async def test_an_unknown_authority_and_a_self_signed_certificate_have_sentences(authority: trustme.CA) -> None:
    async with service(hangs(), secured(trustme.CA().issue_cert(HOST))) as port:
        outcome = await handshake(port)
    assert outcome.error == "tls"
    assert "its authority is not trusted" in (outcome.detail or "")


async def test_a_handshake_that_never_ends_times_out() -> None:
    async with service(hangs()) as port:
        outcome = await handshake(port, timeout=0.3)
    assert (outcome.error, outcome.detail) == ("timeout", "no complete response within 0.3 s")
    assert list(outcome.phases) == ["lookup", "connect"]


async def test_a_closed_port_is_refused(authority: trustme.CA) -> None:
    async with service(hangs(), secured(authority.issue_cert(HOST))) as port:
        pass
    outcome = await handshake(port)
    assert (outcome.error, outcome.detail) == ("connect", "connection refused")


async def test_a_slow_handshake_is_a_warning(authority: trustme.CA) -> None:
    async with service(hangs(), secured(authority.issue_cert(HOST))) as port:
        outcome = await probe_of({"kind": "tls", "host": HOST, "port": port}, slow_ms=0.001)
    assert (outcome.status, outcome.warning) == ("succeeded", "slow")


async def test_the_guard_refuses_private_addresses(authority: trustme.CA) -> None:
    reached: list[object] = []

    async def handler(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        reached.append(1)

    async with service(handler, secured(authority.issue_cert(HOST))) as port:
        spec = {"kind": "tls", "host": HOST, "port": port}
        assert (await probe_of(spec, allowed=Guard())).error == "refused_address"
    assert reached == []


async def test_each_probe_makes_a_full_handshake_and_the_authorities_are_read_once(authority: trustme.CA) -> None:
    reused: list[bool] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reused.append(writer.get_extra_info("ssl_object").session_reused)
        await reader.read()

    async with service(handler, secured(authority.issue_cert(HOST))) as port:
        plan = Plan.model_validate({"spec": {"kind": "tls", "host": HOST, "port": port}})
        async with Prober(EVERYWHERE, "test") as prober:
            for _ in range(3):
                assert (await prober.probe(plan)).status == "succeeded"
    assert reused == [False] * 3
