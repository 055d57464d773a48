"""What HTTP probes send, and whom they trust: bodies, authentication, certificates, families of addresses."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from netmon.models import Outcome, Plan
from netmon.probing import Prober
from netmon.probing.secrets import MAX_TEXT
from tests.unit.app.probing.probes import EVERYWHERE, probe
from tests.unit.app.probing.servers import OK, Handler, answers, redirects, server

pytestmark = pytest.mark.anyio

KEY = "a-value-that-nobody-sees"


async def probed(folder: Path, url: str, **spec: Any) -> Outcome:
    """A probe with secrets."""
    plan = Plan.model_validate({"spec": {"kind": "http", "url": url, **spec}, "timeout_seconds": 5})
    async with Prober(EVERYWHERE, "test", folder) as prober:
        return await prober.probe(plan)


def takes_body(bodies: list[bytes], size: int, answer: Handler) -> Handler:
    """Read a body of this size and answer."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append(await reader.readexactly(size))
        await answer(reader, writer)

    return handler


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_body_is_sent_with_its_type(method: str) -> None:
    heads: list[bytes] = []
    bodies: list[bytes] = []
    body = '{"ä": 1}\n'
    size = len(body.encode())
    async with server(takes_body(bodies, size, answers(OK)), heads=heads) as url:
        outcome = await probe(url, method=method, body=body, content_type="application/json")
    assert outcome.status == "succeeded"
    assert bodies == [body.encode()]
    assert heads[0].startswith(f"{method} / http/1.1\r\n".lower().encode())
    assert b"\r\ncontent-type: application/json\r\n" in heads[0]
    assert f"\r\ncontent-length: {size}\r\n".encode() in heads[0]


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS", "POST", "PATCH"])
async def test_without_a_body_no_type_is_sent(method: str) -> None:
    heads: list[bytes] = []
    async with server(answers(OK), heads=heads) as url:
        assert (await probe(url, method=method)).status == "succeeded"
    assert b"content-type" not in heads[0]
    assert (b"content-length: 0" in heads[0]) is (method in ("POST", "PATCH"))


@pytest.mark.parametrize(("status", "resent"), [(307, True), (308, True), (303, False), (302, False)])
async def test_a_body_is_sent_again_if_the_redirect_keeps_the_method(status: int, resent: bool) -> None:
    heads: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(heads) == 1 or resent:
            await reader.readexactly(4)
        await (redirects("/again", status) if len(heads) == 1 else answers(OK))(reader, writer)

    async with server(handler, heads=heads) as url:
        outcome = await probe(url, method="POST", body="text", headers={"Content-Type": "text/plain", "X-A": "b"})
    assert outcome.status == "succeeded"
    assert heads[1].startswith(b"post " if resent else b"get ")
    assert (b"content-type: text/plain" in heads[1]) is resent
    assert b"x-a: b" in heads[1]


async def test_a_body_is_not_sent_to_another_origin() -> None:
    heads: list[bytes] = []
    bodies: list[bytes] = []
    async with server(answers(OK), heads=heads) as other, server(takes_body(bodies, 4, redirects(other, 307))) as url:
        outcome = await probe(url, method="POST", body="text")
    assert (outcome.error, outcome.detail) == (
        "redirects", "redirected to another origin, to which the body of the request is not sent",
    )  # fmt: skip
    assert heads == []


@pytest.mark.parametrize(
    ("spec", "sent"),
    [
        (
            {"username": "probe", "password": f"{KEY} ü"},
            "Basic " + base64.b64encode(f"probe:{KEY} ü".encode()).decode(),
        ),
        ({"username": "ü", "password": ""}, "Basic " + base64.b64encode("ü:".encode()).decode()),
        (
            {"username": "probe", "password": "secret:key"},
            "Basic " + base64.b64encode(f"probe:{KEY}".encode()).decode(),
        ),
        (
            {"username": "secret:key", "password": "secret:key"},
            "Basic " + base64.b64encode(f"{KEY}:{KEY}".encode()).decode(),
        ),
        ({"bearer_token": KEY}, f"Bearer {KEY}"),
        ({"bearer_token": "secret:key"}, f"Bearer {KEY}"),
    ],
)
async def test_credentials_are_sent_to_the_own_origin_only(tmp_path: Path, spec: dict[str, str], sent: str) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    heads: list[bytes] = []
    others: list[bytes] = []
    async with (
        server(answers(OK), heads=others) as other,
        server(redirects(other), heads=heads) as url,
    ):
        outcome = await probed(tmp_path, url, **spec)
    assert outcome.status == "succeeded"
    assert f"\r\nauthorization: {sent}\r\n".lower().encode() in heads[0]
    assert b"authorization" not in others[0]


ECHO = {"expected_json": ['$.a == "b"'], "expected_headers": ["X-Echo == c"]}


@pytest.mark.parametrize(
    ("spec", "sent"),
    [
        ({"headers": {"X-Shop": "secret:key"}}, KEY),
        ({"headers": {"X-Shop": KEY}}, KEY),
        ({"headers": {"Authorization": f"Bearer {KEY}"}}, KEY),
        ({"bearer_token": "secret:key"}, KEY),
        ({"username": "a", "password": "secret:key"}, base64.b64encode(f"a:{KEY}".encode()).decode()),
    ],
    ids=str,
)
async def test_a_credential_that_the_target_echoes_is_not_shown(
    tmp_path: Path, spec: dict[str, Any], sent: str
) -> None:
    (tmp_path / "key").write_text(KEY)
    body = f'{{"a": "{sent}"}}'.encode()
    head = f"HTTP/1.1 200 OK\r\nX-Echo: {sent}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    async with server(answers(head, body)) as url:
        outcome = await probed(tmp_path, url, **spec, **ECHO)
    assert outcome.detail == 'the header X-Echo is •••, expected "c"; $.a is •••, expected "b"'


async def test_a_body_may_be_a_secret(tmp_path: Path) -> None:
    (tmp_path / "body").write_text(f"line 1\n{KEY}\n")
    bodies: list[bytes] = []
    async with server(takes_body(bodies, 8 + len(KEY), answers(OK))) as url:
        assert (await probed(tmp_path, url, method="POST", body="secret:body")).status == "succeeded"
    assert bodies == [f"line 1\n{KEY}\n".encode()]


UNUSABLE: dict[str, tuple[dict[str, Any], bytes, str]] = {
    "empty body": ({"method": "POST", "body": "secret:key"}, b"\n", "the secret key is empty"),
    "large body": (
        {"method": "POST", "body": "secret:key"},
        b"a" * (MAX_TEXT + 1),
        f"the secret key is longer than {MAX_TEXT} bytes",
    ),
    "binary body": ({"method": "POST", "body": "secret:key"}, b"\xff", "the secret key is not text in UTF-8"),
    "password of two lines": (
        {"username": "a", "password": "secret:key"},
        b"a\nb",
        "the secret key is not one line of at most 4096 ASCII characters",
    ),
    "username with a colon": (
        {"username": "secret:key", "password": "a"},
        b"a:b",
        "the secret of the username has a colon",
    ),
    "authority": (
        {"ca_certificate": "secret:key"},
        KEY.encode(),
        "the secret key must be certificates in PEM: -----BEGIN CERTIFICATE----- …",
    ),
}


@pytest.mark.parametrize("name", UNUSABLE)
async def test_an_unusable_secret_fails_the_probe_before_a_request(tmp_path: Path, name: str) -> None:
    spec, content, sentence = UNUSABLE[name]
    (tmp_path / "key").write_bytes(content)
    heads: list[bytes] = []
    async with server(answers(OK), heads=heads) as url:
        outcome = await probed(tmp_path, url, **spec)
    assert (outcome.error, outcome.detail) == ("secret", sentence)
    assert heads == []


def tls(certificate: trustme.LeafCert, clients: trustme.CA | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        clients.configure_trust(context)
    return context


def pem(authority: trustme.CA) -> str:
    return authority.cert_pem.bytes().decode()


async def test_an_authority_of_the_target_is_trusted_instead_of_those_of_the_host(tmp_path: Path) -> None:
    own, other = trustme.CA(), trustme.CA()
    (tmp_path / "ca").write_text(pem(own))
    async with server(answers(OK), tls=tls(own.issue_cert("127.0.0.1"))) as url:
        assert (await probe(url)).error == "tls"
        assert (await probe(url, ca_certificate=pem(other) + pem(own))).status == "succeeded"
        assert (await probed(tmp_path, url, ca_certificate="secret:ca")).status == "succeeded"
        assert (await probe(url, ca_certificate=pem(other))).error == "tls"
        assert (await probe(url)).error == "tls", "not kept for the next target"


async def test_verification_can_be_switched_off() -> None:
    async with server(answers(OK), tls=tls(trustme.CA().issue_cert("another.example"))) as url:
        outcome = await probe(url, verify_tls=False)
        assert outcome.status == "succeeded"
        assert outcome.certificate_days is not None
        assert (await probe(url)).error == "tls", "not kept for the next target"


async def test_a_client_certificate_authenticates_the_probe(tmp_path: Path) -> None:
    authority = trustme.CA()
    identity = authority.issue_cert("probe.example")
    text = identity.private_key_and_cert_chain_pem.bytes().decode()
    (tmp_path / "identity").write_text(text)
    async with server(answers(OK), tls=tls(authority.issue_cert("127.0.0.1"), authority)) as url:
        trusted: dict[str, Any] = {"ca_certificate": pem(authority), "body_contains": "ok"}
        assert (await probe(url, client_certificate=text, **trusted)).status == "succeeded"
        assert (await probed(tmp_path, url, client_certificate="secret:identity", **trusted)).status == "succeeded"
        assert (await probe(url, **trusted)).status == "failed"


async def test_a_client_certificate_that_does_not_fit_its_key_is_reported() -> None:
    authority = trustme.CA()
    one, other = authority.issue_cert("a.example"), authority.issue_cert("a.example")
    text = other.private_key_pem.bytes().decode() + one.cert_chain_pems[0].bytes().decode()
    async with server(answers(OK), tls=tls(authority.issue_cert("127.0.0.1"), authority)) as url:
        outcome = await probe(url, client_certificate=text, ca_certificate=pem(authority))
    assert (outcome.error, outcome.detail) == ("tls", "the client certificate cannot be used with its key")


async def test_a_client_certificate_is_presented_to_the_own_origin_only() -> None:
    authority = trustme.CA()
    text = authority.issue_cert("probe.example").private_key_and_cert_chain_pem.bytes().decode()
    presented: list[object] = []

    def noting(answer: Handler) -> Handler:
        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            presented.append(writer.get_extra_info("ssl_object").getpeercert())
            await answer(reader, writer)

        return handler

    def optional() -> ssl.SSLContext:
        context = tls(authority.issue_cert("127.0.0.1"), authority)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    async with (
        server(noting(answers(OK)), tls=optional()) as other,
        server(noting(redirects(other)), tls=optional()) as url,
    ):
        outcome = await probe(url, client_certificate=text, ca_certificate=pem(authority))
    assert outcome.status == "succeeded"
    assert list(map(bool, presented)) == [True, False]


@pytest.mark.parametrize(("version", "family"), [(4, "127.0.0.1"), (6, "::1")])
async def test_connections_use_the_chosen_family_of_addresses(
    monkeypatch: pytest.MonkeyPatch, version: int, family: str
) -> None:
    both: Callable[..., Any] = _both_families
    monkeypatch.setattr("netmon.probing.resolver.Resolver.addresses", both)
    async with server(answers(OK), host=family) as url:
        port = url.rstrip("/").rpartition(":")[2]
        assert (await probe(f"http://shop.example:{port}/", ip_version=version)).status == "succeeded"
        failed = await probe(f"http://shop.example:{port}/", ip_version=10 - version)
    assert failed.error == "connect"


async def _both_families(_resolver: object, _host: str, _port: int) -> list[str]:
    return ["127.0.0.1", "::1"]


async def test_a_name_without_addresses_of_the_chosen_family_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    async def one(_resolver: object, _host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    monkeypatch.setattr("netmon.probing.resolver.Resolver.addresses", one)
    outcome = await probe("http://shop.example/", ip_version=6)
    assert (outcome.error, outcome.detail) == ("dns", "shop.example has no reachable IPv6 address")
