"""TLS: valid and invalid certificates, and their expiry."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from netmon.models import Plan
from netmon.probing import Prober
from tests.unit.app.probing.probes import EVERYWHERE, probe
from tests.unit.app.probing.servers import OK, answers, redirects, server

pytestmark = pytest.mark.anyio


def tls(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.mark.parametrize(("days", "warning"), [(90, None), (5, "certificate")])
async def test_the_days_until_the_certificate_expires_are_reported(
    authority: trustme.CA, days: int, warning: str | None
) -> None:
    certificate = authority.issue_cert("127.0.0.1", not_after=datetime.now(UTC) + timedelta(days=days))
    async with server(answers(OK), tls=tls(certificate)) as url:
        outcome = await probe(url, certificate_days=14)
    assert (outcome.status, outcome.warning) == ("succeeded", warning)
    assert outcome.certificate_days == pytest.approx(days, abs=0.1)
    assert ("expires" in (outcome.detail or "")) is bool(warning)
    assert list(outcome.phases) == ["lookup", "connect", "tls", "first_byte", "transfer"]


async def test_the_certificate_of_the_last_response_is_reported(authority: trustme.CA) -> None:
    certificate = authority.issue_cert("127.0.0.1")
    async with server(answers(OK)) as plain, server(redirects(plain), tls=tls(certificate)) as url:
        assert (await probe(url)).certificate_days is None
    async with server(answers(OK), tls=tls(certificate)) as secure, server(redirects(secure)) as url:
        assert (await probe(url)).certificate_days is not None


def expiring(authority: trustme.CA, days: float) -> trustme.LeafCert:
    return authority.issue_cert("127.0.0.1", not_after=datetime.now(UTC) + timedelta(days=days))


async def test_the_certificate_of_a_host_that_redirects_is_checked(authority: trustme.CA) -> None:
    async with (
        server(answers(OK), tls=tls(expiring(authority, 90))) as secure,
        server(redirects(secure), tls=tls(expiring(authority, 5))) as url,
    ):
        outcome = await probe(url, certificate_days=14)
    assert (outcome.status, outcome.warning) == ("succeeded", "certificate")
    assert outcome.certificate_days == pytest.approx(90, abs=0.1)
    assert outcome.detail == "the certificate of 127.0.0.1 expires in 5.0 days"


@pytest.mark.parametrize(("days", "warning"), [(90, None), (5, "certificate"), (-1, None)])
async def test_intermediate_certificates_are_checked(
    authority: trustme.CA, tmp_path: Path, days: int, warning: str | None
) -> None:
    """One that has expired was not needed: the verification has found another path."""
    leaf = expiring(authority, 90)
    extra = expiring(trustme.CA(), days)  # in the position of an intermediate certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    chain = tmp_path / "chain.pem"
    chain.write_bytes(leaf.private_key_and_cert_chain_pem.bytes() + extra.cert_chain_pems[0].bytes())
    context.load_cert_chain(chain)
    async with server(answers(OK), tls=context) as url:
        outcome = await probe(url, certificate_days=14)
    assert (outcome.status, outcome.warning) == ("succeeded", warning)
    assert ("the intermediate certificate" in (outcome.detail or "")) is bool(warning)


async def test_the_name_of_the_url_is_verified_at_another_host(authority: trustme.CA) -> None:
    """Also at an address, and with a header that names the host."""
    async with server(answers(OK), tls=tls(authority.issue_cert("shop.example"))) as url:
        place = url.split("/")[2]
        assert (await probe("https://shop.example/", connect_to=place)).status == "succeeded"
        assert (await probe(url, headers={"Host": "shop.example"})).detail == (
            "the certificate is not valid: it is for another name"
        )


@pytest.mark.parametrize("fault", ["unknown authority", "another name", "expired"])
async def test_an_invalid_certificate_fails_the_probe(authority: trustme.CA, fault: str) -> None:
    if fault == "unknown authority":
        certificate = trustme.CA().issue_cert("127.0.0.1")
    elif fault == "another name":
        certificate = authority.issue_cert("example.org")
    else:
        certificate = authority.issue_cert("127.0.0.1", not_after=datetime.now(UTC) - timedelta(days=1))
    async with server(answers(OK), tls=tls(certificate)) as url:
        outcome = await probe(url)
    assert outcome.error == "tls"
    assert "curl" not in (outcome.detail or "").lower()


async def test_plain_text_on_a_tls_port_fails_the_probe() -> None:
    async with server(answers(OK)) as url:
        assert (await probe(url.replace("http:", "https:"), timeout=1)).error in {"tls", "disconnected", "timeout"}


async def test_each_probe_makes_a_full_handshake(authority: trustme.CA) -> None:
    """A resumed session would hide that the certificate was replaced."""
    reused: list[bool] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reused.append(writer.get_extra_info("ssl_object").session_reused)
        await answers(OK)(reader, writer)

    async with server(handler, tls=tls(authority.issue_cert("127.0.0.1"))) as url:
        plan = Plan.model_validate({"spec": {"kind": "http", "url": url, "body_contains": "ok"}})
        async with Prober(EVERYWHERE, "test") as prober:
            for _ in range(3):
                assert (await prober.probe(plan)).certificate_days is not None
    assert reused == [False] * 3
