"""Whom connections with TLS trust: an authority of the target's own, or anybody, for each kind but HTTP."""

import ssl
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import trustme

from netmon.models import Outcome, Plan
from netmon.probing import Prober
from tests.unit.app.probing.probes import EVERYWHERE
from tests.unit.app.probing.services import HOST, expiring, grpc, hangs, secured, service
from tests.unit.app.probing.test_grpc import healthy

pytestmark = pytest.mark.anyio

KINDS: dict[str, dict[str, Any]] = {
    "tls": {"kind": "tls"},
    "tcp": {"kind": "tcp", "tls": True},
    "grpc": {"kind": "grpc"},
}


def listening(kind: str, certificate: trustme.LeafCert) -> AbstractAsyncContextManager[int]:
    """A service of a kind; yields its port."""
    context = secured(certificate)
    if kind != "grpc":
        return service(hangs(), context)
    context.set_alpn_protocols(["h2"])
    return service(grpc(*healthy()), context)


def pem(authority: trustme.CA) -> str:
    """The certificate of an authority."""
    return authority.cert_pem.bytes().decode()


async def outcomes(folder: Path, kind: str, port: int, *settings: dict[str, Any]) -> list[Outcome]:
    """Outcomes of one prober, which may keep something from one probe to the next."""
    async with Prober(EVERYWHERE, "test", folder) as prober:
        plans = [{"spec": {**KINDS[kind], "host": HOST, "port": port, **each}} for each in settings]
        return [await prober.probe(Plan.model_validate(plan)) for plan in plans]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_authority_of_the_target_is_trusted_instead_of_those_of_the_host(tmp_path: Path, kind: str) -> None:
    own, other = trustme.CA(), trustme.CA()
    (tmp_path / "ca").write_text(pem(own))
    trusted: list[dict[str, Any]] = [
        {},
        {"ca_certificate": pem(own)},
        {"ca_certificate": pem(other) + pem(own)},
        {"ca_certificate": "secret:ca"},
        {"ca_certificate": pem(other)},
        {},
    ]
    async with listening(kind, own.issue_cert(HOST)) as port:
        found = await outcomes(tmp_path, kind, port, *trusted)
    assert [outcome.error for outcome in found] == ["tls", None, None, None, "tls", "tls"]
    assert found[1].certificate_days is not None


@pytest.mark.parametrize("kind", KINDS)
async def test_the_host_is_not_trusted_beside_an_authority_of_the_target(
    authority: trustme.CA, tmp_path: Path, kind: str
) -> None:
    async with listening(kind, authority.issue_cert(HOST)) as port:
        [by_host, by_target] = await outcomes(tmp_path, kind, port, {}, {"ca_certificate": pem(trustme.CA())})
    assert (by_host.error, by_target.error) == (None, "tls")


@pytest.mark.parametrize("kind", KINDS)
async def test_without_verification_only_the_days_of_the_certificate_are_checked(tmp_path: Path, kind: str) -> None:
    async with listening(kind, expiring(trustme.CA(), 5, "another.example")) as port:
        [ignored, early, verified] = await outcomes(
            tmp_path, kind, port, {"verify_tls": False}, {"verify_tls": False, "certificate_fail_days": 6}, {}
        )
    assert (ignored.status, ignored.warning) == ("succeeded", "certificate")
    assert ignored.certificate_days == pytest.approx(5, abs=0.1)
    assert (early.error, verified.error) == ("certificate", "tls")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("content", "reason"), [(None, "is missing"), ("no certificate", "must be certificates in PEM")]
)
async def test_an_unusable_secret_fails_the_probe_before_a_handshake(
    tmp_path: Path, kind: str, content: str | None, reason: str
) -> None:
    if content:
        (tmp_path / "ca").write_text(content)
    names: list[str] = []
    context = secured(trustme.CA().issue_cert(HOST))
    context.sni_callback = lambda _session, name, _context: names.append(name)
    async with service(hangs(), context) as port:
        [outcome] = await outcomes(tmp_path, kind, port, {"ca_certificate": "secret:ca"})
    assert outcome.error == "secret"
    assert reason in (outcome.detail or "")
    assert names == []


async def test_the_version_and_the_trust_of_each_target_are_its_own(tmp_path: Path) -> None:
    own = trustme.CA()
    old = secured(own.issue_cert(HOST), maximum_version=ssl.TLSVersion.TLSv1_2)
    async with service(hangs(), old) as port:
        found = await outcomes(
            tmp_path, "tls", port, {"verify_tls": False}, {"verify_tls": False, "minimum_version": "1.3"},
            {"ca_certificate": pem(own)}, {"ca_certificate": pem(own), "minimum_version": "1.3"},
        )  # fmt: skip
    assert [outcome.error for outcome in found] == [None, "tls", None, "tls"]
