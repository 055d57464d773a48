"""Client of production's reverse proxy on this host: by its domain name, at its published ports."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolkit.core.polling import CheckError
from toolkit.engine.compose import Docker
from toolkit.engine.health import ServiceState

if TYPE_CHECKING:
    import requests

SERVICE = "proxy"
HEALTH, INTERNAL = "/healthz", "/api/metrics"
"""The health endpoint for load balancers, and an internal endpoint that the proxy must hide."""
HTTP_PORT, HTTPS_PORT = 8080, 8443
"""The proxy's ports inside its container (config/caddy/Caddyfile)."""
ROOT = "/data/caddy/pki/authorities/local/root.crt"
"""The root certificate of the proxy's own authority, which signs for non-public names."""


@dataclass(frozen=True)
class Proxy:
    """The proxy's published address and domain."""

    url: str
    """The public URL."""
    domain: str
    host: str
    http_port: int
    https_port: int
    authority: str | None
    """The root certificate of the proxy's own authority (PEM), if it has one."""

    @classmethod
    def find(
        cls, docker: Docker, services: Mapping[str, Mapping[str, Any]], states: Sequence[ServiceState]
    ) -> Proxy | None:
        """The running proxy; None if the profile has none or it is not running."""
        ports = {port.inside: port for state in states if state.service == SERVICE for port in state.ports}
        if SERVICE not in services or not {HTTP_PORT, HTTPS_PORT} <= ports.keys():
            return None
        environment = services[SERVICE]["environment"]
        own = docker.exec(SERVICE, "cat", ROOT)
        host, _, _ = ports[HTTPS_PORT].address.rpartition(":")
        http_port, https_port = ports[HTTP_PORT].published, ports[HTTPS_PORT].published
        return cls(
            environment["PUBLIC_URL"],
            environment["DOMAIN"],
            host,
            http_port,
            https_port,
            own.stdout if own.code == 0 else None,
        )

    def ssl_context(self) -> ssl.SSLContext:
        """A TLS context that trusts this machine's authorities and the proxy's own.

        New for each connection, since clients set their ALPN protocols in it.
        """
        context = ssl.create_default_context()
        if self.authority:
            context.load_verify_locations(cadata=self.authority)
        return context

    @property
    def address(self) -> str:
        """The base URL of the requests of a `session`."""
        return f"https://{self.host}:{self.https_port}"

    def session(self) -> requests.Session:
        """An HTTPS client that does not resolve the domain, but verifies the certificate for it."""
        import requests

        from toolkit.checks.server_name import ServerNameAdapter

        session = requests.Session()
        session.trust_env = False
        session.mount("https://", ServerNameAdapter(self.domain, self.ssl_context()))
        session.headers["Host"] = self.url.removeprefix("https://")
        return session

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send one request of a `session`.

        Raises:
            requests.RequestException: there is no response, or the certificate is not trusted.
        """
        with self.session() as session:
            return session.request(method, f"{self.address}{path}", **options)

    def redirect_target(self, seconds: float) -> str | None:
        """The redirect target of plain HTTP.

        Raises:
            requests.RequestException: there is no response.
        """
        import requests

        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"http://{self.host}:{self.http_port}/", timeout=seconds, allow_redirects=False)
        return answer.headers.get("Location")

    def negotiated_protocol(self, seconds: float) -> str | None:
        """The protocol negotiated with a client that supports HTTP/2 and HTTP/1.1.

        Raises:
            OSError: there is no connection, or the certificate is not trusted.
        """
        context = self.ssl_context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        with (
            socket.create_connection((self.host.strip("[]"), self.https_port), seconds) as plain,
            context.wrap_socket(plain, server_hostname=self.domain) as encrypted,
        ):
            return encrypted.selected_alpn_protocol()

    def supports_quic(self, seconds: float) -> bool:
        """Whether the proxy responds to QUIC, the transport of HTTP/3.

        A packet with an unknown version is answered with the supported versions (RFC 9000, section 17.2.1).
        """
        identifiers = (b"\x08" + os.urandom(8)) * 2
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.settimeout(seconds)
            client.connect((self.host.strip("[]"), self.https_port))
            try:
                # Shorter packets get no response.
                client.send((b"\xc0" + b"\x1a\x2a\x3a\x4a" + identifiers).ljust(1200, b"\0"))
                answer = client.recv(1500)
            except OSError:
                return False
        versions = answer[5 + len(identifiers) :]
        supported = [versions[at : at + 4] for at in range(0, len(versions), 4)]
        return answer[1:5] == bytes(4) and b"\0\0\0\x01" in supported


def check(proxy: Proxy, seconds: float) -> str:
    """Use the proxy as clients of every protocol do; ``seconds`` for each step.

    Returns:
        A summary.

    Raises:
        CheckError: a step fails.
    """
    try:
        ready = proxy.request("GET", HEALTH, timeout=seconds)
        require(ready.status_code == 200, f"{HEALTH} answered {ready.status_code}: {ready.text[:200]}")
        target = proxy.redirect_target(seconds)
        require(target == f"{proxy.url}/", f"plain HTTP redirects to {target or 'nothing'} instead of {proxy.url}/")
        internal = proxy.request("GET", INTERNAL, timeout=seconds)
        require(internal.status_code == 404, f"{INTERNAL} is internal, but answered {internal.status_code}")
        protocol = proxy.negotiated_protocol(seconds)
    except OSError as error:  # a RequestException as well
        raise CheckError(f"{proxy.url}: {error}") from error
    require(protocol == "h2", f"it negotiates {protocol} with a client that offers HTTP/2")
    require(proxy.supports_quic(seconds), "no response over UDP: HTTP/3 is unavailable")
    return f"{proxy.url} with a trusted certificate, HTTP/2 and HTTP/3; plain HTTP redirects to it"


def require(condition: bool, problem: str) -> None:
    """Raise a CheckError unless ``condition`` is true."""
    if not condition:
        raise CheckError(problem)
