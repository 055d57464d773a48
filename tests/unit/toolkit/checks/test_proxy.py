"""The proxy as a client meets it: what is right passes, and everything that is wrong is told."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import pytest
import trustme

from tests.unit.toolkit.conftest import FakeDocker
from tests.unit.toolkit.containers import state
from tests.unit.toolkit.httpserver import Route, server
from toolkit.checks.proxy import Proxy, check
from toolkit.core.polling import CheckError

DOMAIN = "netmon.localhost"
URL = f"https://{DOMAIN}:8443"
VERSIONS = bytes.fromhex("6b3343cf00000001")


@dataclass
class Front:
    """What stands in the proxy's place; every field is right until a test makes it wrong."""

    authority: trustme.CA = field(default_factory=trustme.CA)
    certificate: str = DOMAIN
    location: str = f"{URL}/"
    protocols: tuple[str, ...] = ("h2", "http/1.1")
    versions: bytes = VERSIONS
    answers: dict[str, int] = field(default_factory=lambda: {"/healthz": 200})

    def __call__(self, _method: str, path: str, headers: dict[str, str], _body: str) -> Route:
        assert headers["Host"] == URL.removeprefix("https://")
        return self.answers.get(path, 404), "", {}

    @contextmanager
    def serve(self) -> Iterator[Proxy]:
        """Listen for plain HTTP, HTTPS and, at the same port, QUIC."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(self.certificate).configure_cert(context)
        context.set_alpn_protocols(list(self.protocols))
        with ExitStack() as stack:
            plain = stack.enter_context(server(lambda *_request: (308, "", {"Location": self.location})))
            encrypted = stack.enter_context(server(self, context))
            quic = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            quic.bind(("127.0.0.1", encrypted))
            threading.Thread(target=self.negotiate, args=(quic,), daemon=True).start()
            yield Proxy(URL, DOMAIN, "127.0.0.1", plain, encrypted, self.authority.cert_pem.bytes().decode())

    def negotiate(self, quic: socket.socket) -> None:
        """Answer one packet with the versions that there are."""
        try:
            packet, client = quic.recvfrom(1500)
        except OSError:
            return
        if len(packet) >= 1200:
            quic.sendto(b"\x80" + bytes(4) + packet[5:23] + self.versions, client)


def test_everything_is_as_it_must_be() -> None:
    with Front().serve() as proxy:
        assert check(proxy, 2) == f"{URL} with a trusted certificate, HTTP/2 and HTTP/3; plain HTTP leads there"


@pytest.mark.parametrize(
    ("front", "said"),
    [
        (Front(answers={"/healthz": 503}), "/healthz answered 503"),
        (Front(answers={"/healthz": 200, "/api/metrics": 200}), "/api/metrics is for the inside, and answered 200"),
        (Front(location="http://elsewhere/"), "plain HTTP leads to http://elsewhere/ instead of"),
        (Front(certificate="other.localhost"), "match 'other.localhost'"),
        (Front(protocols=("http/1.1",)), "it speaks http/1.1 with a client that offers HTTP/2"),
        (Front(versions=VERSIONS[:4]), "there is no HTTP/3"),
    ],
)
def test_what_is_wrong_is_told(front: Front, said: str) -> None:
    with front.serve() as proxy, pytest.raises(CheckError, match=said):
        check(proxy, 2)


def test_another_authority_is_not_trusted() -> None:
    with Front().serve() as proxy, pytest.raises(CheckError, match="certificate verify failed"):
        check(replace(proxy, authority=None), 2)


def test_nobody_listens_over_udp() -> None:
    with Front().serve() as proxy, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert not replace(proxy, encrypted=closed.getsockname()[1]).speaks_quic(0.2)


PORTS = {
    "8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "80"}],
    "8443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "443"}],
}
SERVICES = {"proxy": {"environment": {"PUBLIC_URL": URL, "DOMAIN": DOMAIN}}}


def test_it_is_found_where_it_is_published(docker: FakeDocker) -> None:
    docker.on("exec", "proxy", "cat", stdout="PEM")
    found = [state("proxy", ports=PORTS)]
    assert Proxy.find(docker.cli, SERVICES, found) == Proxy(URL, DOMAIN, "127.0.0.1", 80, 443, "PEM")
    docker.on("exec", "proxy", "cat", code=1, stderr="No such file")
    assert Proxy.find(docker.cli, SERVICES, found) == Proxy(URL, DOMAIN, "127.0.0.1", 80, 443, None)


def test_there_is_none_in_development_or_while_it_is_stopped(docker: FakeDocker) -> None:
    assert Proxy.find(docker.cli, {}, []) is None
    assert Proxy.find(docker.cli, SERVICES, [state("proxy", "exited", None, ports={"8443/tcp": None})]) is None
