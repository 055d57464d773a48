"""The check of the proxy: every protocol passes, and every fault is reported."""

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
class FakeProxy:
    """A fake proxy without faults; tests change its fields."""

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
        """Listen for HTTP, HTTPS and, on the same port, QUIC."""
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
        """Answer one packet with the supported versions."""
        try:
            packet, client = quic.recvfrom(1500)
        except OSError:
            return
        if len(packet) >= 1200:
            quic.sendto(b"\x80" + bytes(4) + packet[5:23] + self.versions, client)


def test_proxy_without_faults_passes() -> None:
    with FakeProxy().serve() as proxy:
        assert check(proxy, 2) == f"{URL} with a trusted certificate, HTTP/2 and HTTP/3; plain HTTP redirects to it"


@pytest.mark.parametrize(
    ("front", "message"),
    [
        (FakeProxy(answers={"/healthz": 503}), "/healthz answered 503"),
        (FakeProxy(answers={"/healthz": 200, "/api/metrics": 200}), "/api/metrics is internal, but answered 200"),
        (FakeProxy(location="http://elsewhere/"), "plain HTTP redirects to http://elsewhere/ instead of"),
        (FakeProxy(certificate="other.localhost"), "match 'other.localhost'"),
        (FakeProxy(protocols=("http/1.1",)), "it negotiates http/1.1 with a client that offers HTTP/2"),
        (FakeProxy(versions=VERSIONS[:4]), "HTTP/3 is unavailable"),
    ],
)
def test_fault_is_reported(front: FakeProxy, message: str) -> None:
    with front.serve() as proxy, pytest.raises(CheckError, match=message):
        check(proxy, 2)


def test_unknown_authority_is_not_trusted() -> None:
    with FakeProxy().serve() as proxy, pytest.raises(CheckError, match="certificate verify failed"):
        check(replace(proxy, authority=None), 2)


def test_closed_udp_port_does_not_support_quic() -> None:
    with FakeProxy().serve() as proxy, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert not replace(proxy, https_port=closed.getsockname()[1]).supports_quic(0.2)


PORTS = {
    "8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "80"}],
    "8443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "443"}],
}
SERVICES = {"proxy": {"environment": {"PUBLIC_URL": URL, "DOMAIN": DOMAIN}}}


def test_find_returns_the_published_proxy(docker: FakeDocker) -> None:
    docker.on("exec", "proxy", "cat", stdout="PEM")
    found = [state("proxy", ports=PORTS)]
    assert Proxy.find(docker.cli, SERVICES, found) == Proxy(URL, DOMAIN, "127.0.0.1", 80, 443, "PEM")
    docker.on("exec", "proxy", "cat", code=1, stderr="No such file")
    assert Proxy.find(docker.cli, SERVICES, found) == Proxy(URL, DOMAIN, "127.0.0.1", 80, 443, None)


def test_find_returns_none_in_development_or_while_stopped(docker: FakeDocker) -> None:
    assert Proxy.find(docker.cli, {}, []) is None
    assert Proxy.find(docker.cli, SERVICES, [state("proxy", "exited", None, ports={"8443/tcp": None})]) is None
