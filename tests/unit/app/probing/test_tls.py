"""TLS: valid and invalid certificates, and their expiry."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from tests.unit.app.probing.probes import probe
from tests.unit.app.probing.servers import OK, answers, redirects, server

pytestmark = pytest.mark.anyio


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> trustme.CA:
    """A certificate authority that this host trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return authority


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


async def test_the_certificate_of_the_last_response_is_reported(authority: trustme.CA) -> None:
    certificate = authority.issue_cert("127.0.0.1")
    async with server(answers(OK)) as plain, server(redirects(plain), tls=tls(certificate)) as url:
        assert (await probe(url)).certificate_days is None
    async with server(answers(OK), tls=tls(certificate)) as secure, server(redirects(secure)) as url:
        assert (await probe(url)).certificate_days is not None


@pytest.mark.parametrize("fault", ["unknown authority", "another name", "expired"])
async def test_an_invalid_certificate_fails_the_probe(authority: trustme.CA, fault: str) -> None:
    if fault == "unknown authority":
        certificate = trustme.CA().issue_cert("127.0.0.1")
    elif fault == "another name":
        certificate = authority.issue_cert("example.org")
    else:
        certificate = authority.issue_cert("127.0.0.1", not_after=datetime.now(UTC) - timedelta(days=1))
    async with server(answers(OK), tls=tls(certificate)) as url:
        assert (await probe(url)).error == "tls"


async def test_plain_text_on_a_tls_port_fails_the_probe() -> None:
    async with server(answers(OK)) as url:
        assert (await probe(url.replace("http:", "https:"), timeout=1)).error in {"tls", "disconnected", "timeout"}
