"""The reverse proxy of production, as a client on this host meets it: by the domain's name, at the published port."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from toolkit.core.polling import CheckError
from toolkit.engine.compose import Docker
from toolkit.engine.health import ServiceState

SERVICE = "proxy"
HEALTH, INTERNAL = "/healthz", "/api/metrics"
"""What load balancers ask, and something that is for the inside only."""
PLAIN, ENCRYPTED = 8080, 8443
"""The ports inside its container (config/caddy/Caddyfile)."""
ROOT = "/data/caddy/pki/authorities/local/root.crt"
"""The certificate of its own authority, which signs for names that no public one would."""


@dataclass(frozen=True)
class Proxy:
    """Where it listens, and the name that it answers to."""

    url: str
    """What people type."""
    domain: str
    host: str
    plain: int
    encrypted: int
    authority: str | None
    """The certificate of its own authority (PEM), where it has one."""

    @classmethod
    def find(
        cls, docker: Docker, services: Mapping[str, Mapping[str, Any]], states: Sequence[ServiceState]
    ) -> Proxy | None:
        """The running proxy; None where the profile has none, or it does not run."""
        ports = {port.inside: port for state in states if state.service == SERVICE for port in state.ports}
        if SERVICE not in services or not {PLAIN, ENCRYPTED} <= ports.keys():
            return None
        told = services[SERVICE]["environment"]
        own = docker.compose("exec", "--no-TTY", SERVICE, "cat", ROOT)
        host, _, _ = ports[ENCRYPTED].address.rpartition(":")
        plain, encrypted = ports[PLAIN].published, ports[ENCRYPTED].published
        return cls(told["PUBLIC_URL"], told["DOMAIN"], host, plain, encrypted, own.stdout if own.code == 0 else None)

    def trust(self) -> ssl.SSLContext:
        """The certificates that a client accepts: of the authorities that this machine knows, and of the proxy's own.

        New for each use: whoever connects writes the protocols that it speaks into it.
        """
        context = ssl.create_default_context()
        if self.authority:
            context.load_verify_locations(cadata=self.authority)
        return context

    @property
    def address(self) -> str:
        """Where a `session` sends its requests."""
        return f"https://{self.host}:{self.encrypted}"

    def session(self) -> requests.Session:
        """A client over HTTPS. The name is not looked up, and the certificate has to be one for it."""
        session = requests.Session()
        session.trust_env = False
        session.mount("https://", _ByName(self.domain, self.trust()))
        session.headers["Host"] = self.url.removeprefix("https://")
        return session

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """One request of a `session`.

        Raises:
            requests.RequestException: there is no answer, or the certificate is not trusted.
        """
        with self.session() as session:
            return session.request(method, f"{self.address}{path}", **options)

    def leads_to(self, seconds: float) -> str | None:
        """Where plain HTTP is redirected to.

        Raises:
            requests.RequestException: there is no answer.
        """
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"http://{self.host}:{self.plain}/", timeout=seconds, allow_redirects=False)
        return answer.headers.get("Location")

    def negotiated(self, seconds: float) -> str | None:
        """The protocol that it chooses for a client that speaks HTTP/2 and HTTP/1.1.

        Raises:
            OSError: there is no connection, or the certificate is not trusted.
        """
        trust = self.trust()
        trust.set_alpn_protocols(["h2", "http/1.1"])
        with (
            socket.create_connection((self.host.strip("[]"), self.encrypted), seconds) as plain,
            trust.wrap_socket(plain, server_hostname=self.domain) as encrypted,
        ):
            return encrypted.selected_alpn_protocol()

    def speaks_quic(self, seconds: float) -> bool:
        """Whether QUIC, on which HTTP/3 stands, is answered over UDP.

        A packet of a version that does not exist is answered with those that do (RFC 9000, section 17.2.1).
        """
        identifiers = (b"\x08" + os.urandom(8)) * 2
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.settimeout(seconds)
            client.connect((self.host.strip("[]"), self.encrypted))
            try:
                # Shorter ones get no answer.
                client.send((b"\xc0" + b"\x1a\x2a\x3a\x4a" + identifiers).ljust(1200, b"\0"))
                answer = client.recv(1500)
            except OSError:
                return False
        versions = answer[5 + len(identifiers) :]
        known = [versions[at : at + 4] for at in range(0, len(versions), 4)]
        return answer[1:5] == bytes(4) and b"\0\0\0\x01" in known


class _ByName(HTTPAdapter):
    """Connects to an address and asks for a name, which no resolver has to know."""

    def __init__(self, name: str, trust: ssl.SSLContext) -> None:
        self._name, self._trust = name, trust
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        """As the base does, with the name and the certificates in every connection."""
        options |= {"server_hostname": self._name, "assert_hostname": self._name, "ssl_context": self._trust}
        super().init_poolmanager(connections, maxsize, block, **options)


def check(proxy: Proxy, seconds: float) -> str:
    """Use the proxy as clients of every kind do; ``seconds`` for each step.

    Returns:
        What was seen.

    Raises:
        CheckError: something is not as it must be.
    """
    try:
        ready = proxy.request("GET", HEALTH, timeout=seconds)
        require(ready.status_code == 200, f"{HEALTH} answered {ready.status_code}: {ready.text[:200]}")
        led = proxy.leads_to(seconds)
        require(led == f"{proxy.url}/", f"plain HTTP leads to {led or 'nowhere'} instead of {proxy.url}/")
        inside = proxy.request("GET", INTERNAL, timeout=seconds)
        require(inside.status_code == 404, f"{INTERNAL} is for the inside, and answered {inside.status_code}")
        chosen = proxy.negotiated(seconds)
    except (requests.RequestException, OSError) as error:
        raise CheckError(f"{proxy.url}: {error}") from error
    require(chosen == "h2", f"it speaks {chosen} with a client that offers HTTP/2")
    require(proxy.speaks_quic(seconds), "UDP gets no answer, so there is no HTTP/3")
    return f"{proxy.url} with a trusted certificate, HTTP/2 and HTTP/3; plain HTTP leads there"


def require(fine: bool, problem: str) -> None:
    """Raise a CheckError unless all is well."""
    if not fine:
        raise CheckError(problem)
