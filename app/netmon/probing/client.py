"""One request of HTTP with libcurl, over a connection to addresses that the guard permits."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from ssl import get_default_verify_paths
from typing import Any, Protocol

import pycurl

from netmon.guard import RefusedAddressError
from netmon.phases import Phase
from netmon.probing.response import STOP
from netmon.probing.transfers import TransferError, Transfers
from netmon.probing.trust import Trust
from netmon.probing.unpacking import ACCEPTED
from netmon.url_targets import WebUrl

_SUPPRESS_CONNECT_HEADERS = 265
"""An option of libcurl that pycurl has no name for."""
_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request is sent: to addresses that the guard permits, one of which is connected to."""

    host: str
    """The name that the addresses are those of."""
    port: int
    addresses: Sequence[str]
    by_proxy: bool = False
    login: str | None = field(default=None, repr=False)
    """User and password for the proxy: `user:password`."""


class Receiver(Protocol):
    """Takes a response as it arrives; its methods return `STOP` to end the transfer."""

    enough: bool
    """Whether the transfer was ended because nothing more is of interest."""

    def take_header(self, line: bytes) -> int | None:
        """Take one line of the header, or of the trailer."""

    def take_body(self, part: bytes) -> int | None:
        """Take a part of the body."""


@dataclass(frozen=True, slots=True)
class Message:
    """The content of a request."""

    method: str
    headers: Mapping[str, str]
    """They replace those that would be sent."""
    body: bytes | None = None


class Client:
    """A handle of libcurl for the requests of one probe after another.

    Args:
        number: unique among the clients of a process.
        agent: the user agent.
        transfers: runs its requests.
        authorities: the certificate authorities of this host, see `trust`.
    """

    def __init__(self, number: int, agent: str, transfers: Transfers, authorities: Mapping[int, str]) -> None:
        self._curl: Any = pycurl.Curl()
        # The name under which libcurl finds the addresses. It has its own for each handle, because names and addresses
        # are shared by all of them; the name of the URL is used for TLS and in the request as it is.
        self._name = f"client-{number}.invalid"
        self._agent = agent
        self._transfers = transfers
        self._authorities = authorities
        self._forgotten: list[str] = []
        self._permitted: frozenset[str] = frozenset()
        self._refused = False
        self._bug: Exception | None = None
        self._sockets: list[socket.socket] = []

    def close(self) -> None:
        """Free the handle."""
        self._curl.close()

    def forget(self) -> None:
        """Forget the cookies and settings of the former probe."""
        curl = self._curl
        curl.reset()
        curl.setopt(pycurl.COOKIEFILE, "")
        curl.setopt(pycurl.COOKIELIST, "ALL")
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.USERAGENT, self._agent)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.NETRC, pycurl.NETRC_IGNORED)
        # Each request opens a connection: a probe measures what a new client experiences.
        curl.setopt(pycurl.FRESH_CONNECT, 1)
        curl.setopt(pycurl.FORBID_REUSE, 1)
        curl.setopt(pycurl.SSL_SESSIONID_CACHE, 0)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
        curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open)
        curl.setopt(pycurl.PROXY, "")  # none of the environment
        for option, path in self._authorities.items():
            curl.setopt(option, path)

    async def request(
        self,
        url: WebUrl,
        message: Message,
        route: Route,
        trust: Trust,
        response: Receiver,
        *,
        reads: bool,
        version: int | None = None,
    ) -> None:
        """Send a request and take its response, as far as it is of interest.

        Args:
            url: the URL to request.
            message: the method, headers and body to send.
            route: where it is sent.
            trust: whom it trusts, and who it is.
            response: takes the response.
            reads: whether the body may be read, and thus be compressed.
            version: the version of HTTP, as a number of libcurl; None: HTTP/2 if the target offers it with TLS.

        Raises:
            TransferError: there is no complete response.
            RefusedAddressError: the connection would lead to an address that was not permitted.
        """
        curl = self._curl
        curl.setopt(pycurl.URL, url.text)
        curl.setopt(pycurl.PATH_AS_IS, 1)
        curl.setopt(pycurl.REQUEST_TARGET, url.target)
        self._set_method(message)
        self._set_headers(message.headers, reads=reads)
        self._set_trust(trust)
        if url.user is not None:
            curl.setopt(pycurl.USERNAME, url.user)
            curl.setopt(pycurl.PASSWORD, url.password or "")
        else:
            curl.unsetopt(pycurl.USERNAME)
            curl.unsetopt(pycurl.PASSWORD)
        self._set_route(url, route)
        curl.setopt(pycurl.OPT_CERTINFO, int(url.scheme == "https"))
        curl.setopt(pycurl.HEADERFUNCTION, self._keeping_errors(response.take_header))
        curl.setopt(pycurl.WRITEFUNCTION, self._keeping_errors(response.take_body))
        if version is not None:
            curl.setopt(pycurl.HTTP_VERSION, version)
        try:
            await self._transfers.run(curl)
        except TransferError as failure:
            if self._bug:
                raise self._bug from None
            if self._refused:
                raise RefusedAddressError(f"an address of {route.host} is not permitted") from None
            if not (failure.code == pycurl.E_WRITE_ERROR and response.enough):
                raise
        finally:
            while self._sockets:
                self._sockets.pop().close()

    def certificates(self) -> Sequence[Mapping[str, str]]:
        """The certificates that the server of the last request has sent, each with the fields that libcurl names."""
        return [dict(each) for each in self._curl.getinfo(pycurl.INFO_CERTINFO)]

    def phases(self, *, answered: bool) -> Mapping[Phase, float]:
        """The durations of the phases of the last request in seconds, as far as it got; `answered`: to a response."""
        times = (pycurl.CONNECT_TIME, pycurl.APPCONNECT_TIME, pycurl.STARTTRANSFER_TIME, pycurl.TOTAL_TIME)
        connected, agreed, begun, ended = map(self._curl.getinfo, times)
        found: dict[Phase, float] = {}
        if connected:
            found["connect"] = connected
        if agreed:
            found["tls"] = agreed - connected
        if answered:
            found["first_byte"] = begun - (agreed or connected)
            found["transfer"] = max(ended - begun, 0)
        return found

    def _keeping_errors(self, callback: Callable[[bytes], int | None]) -> Callable[[bytes], int | None]:
        """A callback whose exceptions, which libcurl cannot pass on, are kept: they are no failures of the target."""

        def called(data: bytes) -> int | None:
            try:
                return callback(data)
            except Exception as error:
                self._bug = error
                return STOP

        self._bug = None
        return called

    def _set_method(self, message: Message) -> None:
        curl = self._curl
        curl.setopt(pycurl.HTTPGET, 1)
        if message.method == "HEAD":
            curl.setopt(pycurl.NOBODY, 1)
        elif message.body is not None or message.method in ("POST", "PUT", "PATCH"):
            curl.setopt(pycurl.POSTFIELDS, message.body or b"")
        if message.method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
            curl.setopt(pycurl.CUSTOMREQUEST, message.method)
        else:
            curl.unsetopt(pycurl.CUSTOMREQUEST)

    def _set_trust(self, trust: Trust) -> None:
        curl = self._curl
        curl.setopt(pycurl.SSL_VERIFYPEER, int(trust.verify))
        curl.setopt(pycurl.SSL_VERIFYHOST, 2 if trust.verify else 0)
        blobs = ((pycurl.CAINFO_BLOB, trust.authorities), (pycurl.SSLCERT_BLOB, trust.identity))
        for option, text in (*blobs, (pycurl.SSLKEY_BLOB, trust.identity)):
            if text is None:
                curl.unsetopt(option)
            else:
                curl.setopt(option, text.encode())

    def _set_headers(self, headers: Mapping[str, str], *, reads: bool) -> None:
        curl = self._curl
        lines = {
            "content-type": "Content-Type:",  # that of a form, which is not sent
            "accept-encoding": f"Accept-Encoding: {ACCEPTED if reads else 'identity'}",
        }
        lines |= {name.lower(): f"{name}: {value}" if value.strip() else f"{name};" for name, value in headers.items()}
        # As an option, it is sent in one line with the cookies that the target has set.
        cookie = lines.pop("cookie", None)
        if cookie and ":" in cookie:
            curl.setopt(pycurl.COOKIE, cookie.partition(":")[2].strip())
        else:
            curl.unsetopt(pycurl.COOKIE)
        curl.setopt(pycurl.HTTPHEADER, list(lines.values()))

    def _set_route(self, url: WebUrl, route: Route) -> None:
        curl = self._curl
        self._permitted = frozenset(map(str, route.addresses))
        self._refused = False
        listed = ",".join(f"[{each}]" if ":" in each else str(each) for each in route.addresses)
        place = f"{self._name}:{route.port}"
        # Those of the former request are forgotten, so that there is one entry for each client.
        curl.setopt(pycurl.RESOLVE, [*self._forgotten, f"{place}:{listed}"])
        self._forgotten = [f"-{place}"]
        # Redirects may lead from a host behind the proxy to one that is connected to directly, and back.
        if route.by_proxy:
            curl.unsetopt(pycurl.CONNECT_TO)
            curl.setopt(pycurl.PROXY, f"http://{self._name}:{route.port}")
            curl.setopt(_SUPPRESS_CONNECT_HEADERS, 1)
            if url.scheme == "http":
                curl.setopt(pycurl.REQUEST_TARGET, url.text)
        else:
            curl.setopt(pycurl.PROXY, "")
            curl.setopt(pycurl.CONNECT_TO, [f"::{self._name}:{route.port}"])
        if route.login is not None:
            curl.setopt(pycurl.PROXYUSERPWD, route.login)
        else:
            curl.unsetopt(pycurl.PROXYUSERPWD)

    def _open(self, _purpose: int, address: Any) -> Any:
        """Open the socket of a connection: nothing is connected to that the guard has not permitted."""
        family, kind, protocol, (host, *_) = address
        name = host.decode() if isinstance(host, bytes) else str(host)
        if name not in self._permitted:
            self._refused = True
            return pycurl.SOCKET_BAD
        self._sockets.append(opened := socket.socket(family, kind, protocol))
        return opened  # of which pycurl makes a duplicate


class Clients:
    """The clients of all probes, each of which is used by one probe after another; close it after use.

    Args:
        agent: the user agent.
    """

    def __init__(self, agent: str) -> None:
        self._agent = agent
        self._authorities = trust()
        self._transfers: Transfers | None = None
        self._idle: list[Client] = []
        self._numbers = itertools.count()

    @contextmanager
    def lent(self) -> Iterator[Client]:
        """A client for one probe, with the settings and cookies of none before."""
        self._transfers = self._transfers or Transfers()
        client = self._idle.pop() if self._idle else self._new(self._transfers)
        try:
            client.forget()
            yield client
        finally:
            self._idle.append(client)

    def _new(self, transfers: Transfers) -> Client:
        return Client(next(self._numbers), self._agent, transfers, self._authorities)

    def close(self) -> None:
        """Free everything; no probe may be running."""
        for client in self._idle:
            client.close()
        if self._transfers:
            self._transfers.close()


def trust() -> Mapping[int, str]:
    """The certificate authorities of this host, as options of libcurl."""
    paths = get_default_verify_paths()
    for each in (paths.cafile, str(_BUNDLE)):
        if each and Path(each).is_file():
            return {pycurl.CAINFO: each}
    return {pycurl.CAPATH: paths.capath} if paths.capath else {}
