"""One request of HTTP with libcurl, over a connection to addresses that the guard permits."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from ssl import get_default_verify_paths
from typing import Any, Protocol

import pycurl

from netmon.guard import RefusedAddressError
from netmon.phases import Phase
from netmon.probing.text_search import TextSearch
from netmon.probing.transfers import TransferError, Transfers
from netmon.probing.unpacking import ACCEPTED, Unpacker
from netmon.url_targets import WebUrl

MAX_BODY = 1024 * 1024
"""Bytes of a body that are searched, after decompression; a longer body is not an error."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})
"""The statuses whose `Location` browsers follow."""

_SUPPRESS_CONNECT_HEADERS = 265
"""An option of libcurl that pycurl has no name for."""
STOP = -1
"""What a callback returns to end its transfer."""
_STATUS = re.compile(rb"HTTP/\S+ +(\d{3})", re.IGNORECASE)
_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request is sent: to addresses that the guard permits, one of which is connected to."""

    host: str
    """The name that the addresses are those of."""
    port: int
    addresses: Sequence[str]
    by_proxy: bool = False


class Receiver(Protocol):
    """Takes a response as it arrives; its methods return `STOP` to end the transfer."""

    enough: bool
    """Whether the transfer was ended because nothing more is of interest."""

    def take_header(self, line: bytes) -> int | None:
        """Take one line of the header, or of the trailer."""

    def take_body(self, part: bytes) -> int | None:
        """Take a part of the body."""


class Response:
    """The parts of a response that matter, as they arrive.

    Args:
        search: makes the search in the body from the content type; None if the body is not read.
        follows: whether the body of a redirect is not read.
    """

    def __init__(self, search: Callable[[str], TextSearch] | None, *, follows: bool) -> None:
        self._make_search = search
        self._follows = follows
        self._left = MAX_BODY
        self._headers: dict[str, bytes] = {}
        self.status: int | None = None
        self.search: TextSearch | None = None
        self._unpacker: Unpacker | None = None
        self.answered = False
        """Whether any of it has arrived."""
        self.begun = False
        """Whether its header is complete."""
        self.enough = False
        """Whether the transfer was ended because nothing more is of interest."""

    @property
    def location(self) -> bytes | None:
        """Where a redirect that is followed leads to."""
        redirects = self._follows and self.status in REDIRECTS
        return self._headers.get("location") or None if redirects else None

    @property
    def received(self) -> int:
        """Bytes of the body that have been searched."""
        return MAX_BODY - max(self._left, 0)

    def take_header(self, line: bytes) -> int | None:
        """Take one line of the header, or of the trailer."""
        if self.search:
            return None  # the trailer
        self.answered = True
        if begins := _STATUS.match(line):
            self.status = int(begins[1])
            self._headers.clear()
        elif line.strip():
            name, _, value = line.partition(b":")
            self._headers[name.strip().decode("latin-1").lower()] = value.strip()
        elif self.status is None or (100 <= self.status < 200 and self.status != 101):
            self.status = None  # an interim response
        elif self.location is not None or self._make_search is None:
            self.begun = self.enough = True
            return STOP
        else:
            self.begun = True
            self.search = self._make_search(self._header("content-type"))
            self._unpacker = Unpacker(self._header("content-encoding"), self._take_unpacked)
        return None

    def take_body(self, part: bytes) -> int | None:
        """Take a part of the body."""
        if self._unpacker is None or not self._unpacker.feed(part):
            self.enough = True
            return STOP
        return None

    def _take_unpacked(self, part: bytes) -> bool:
        if self.search is None:
            return False
        self.search.feed(part[: self._left])
        self._left -= len(part)
        return not self.search.found and self._left > 0

    def _header(self, name: str) -> str:
        return self._headers.get(name, b"").decode("latin-1")


class Client:
    """A handle of libcurl for the requests of one probe after another.

    Args:
        number: unique among the clients of a process.
        agent: the user agent.
    """

    def __init__(self, number: int, agent: str, transfers: Transfers) -> None:
        self._curl: Any = pycurl.Curl()
        # The name under which libcurl finds the addresses. It has its own for each handle, because names and addresses
        # are shared by all of them; the name of the URL is used for TLS and in the request as it is.
        self._name = f"client-{number}.invalid"
        self._agent = agent
        self._transfers = transfers
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
        for option, path in trust().items():
            curl.setopt(option, path)

    async def request(
        self,
        url: WebUrl,
        method: str,
        headers: Mapping[str, str],
        route: Route,
        response: Receiver,
        *,
        reads: bool,
        prepare: Callable[[Any], None] = lambda _curl: None,
    ) -> None:
        """Send a request and take its response, as far as it is of interest.

        Args:
            url: what is requested.
            method: GET, HEAD, POST, PUT or OPTIONS.
            headers: replace those that would be sent.
            route: where it is sent.
            response: takes the response.
            reads: whether the body may be read, and thus be compressed.
            prepare: sets further options of libcurl, until `forget` is called.

        Raises:
            TransferError: there is no complete response.
            RefusedAddressError: the connection would lead to an address that was not permitted.
        """
        curl = self._curl
        curl.setopt(pycurl.URL, url.text)
        curl.setopt(pycurl.PATH_AS_IS, 1)
        curl.setopt(pycurl.REQUEST_TARGET, url.target)
        self._set_method(method)
        self._set_headers(headers, reads=reads)
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
        prepare(curl)
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

    def _set_method(self, method: str) -> None:
        curl = self._curl
        curl.setopt(pycurl.HTTPGET, 1)
        if method == "HEAD":
            curl.setopt(pycurl.NOBODY, 1)
        elif method in ("POST", "PUT"):
            curl.setopt(pycurl.POSTFIELDS, "")
        if method in ("PUT", "OPTIONS"):
            curl.setopt(pycurl.CUSTOMREQUEST, method)
        else:
            curl.unsetopt(pycurl.CUSTOMREQUEST)

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
        if route.by_proxy:
            curl.setopt(pycurl.PROXY, f"http://{self._name}:{route.port}")
            curl.setopt(_SUPPRESS_CONNECT_HEADERS, 1)
            if url.scheme == "http":
                curl.setopt(pycurl.REQUEST_TARGET, url.text)
        else:
            curl.setopt(pycurl.CONNECT_TO, [f"::{self._name}:{route.port}"])

    def _open(self, _purpose: int, address: Any) -> Any:
        """Open the socket of a connection: nothing is connected to that the guard has not permitted."""
        family, kind, protocol, (host, *_) = address
        name = host.decode() if isinstance(host, bytes) else str(host)
        if name not in self._permitted:
            self._refused = True
            return pycurl.SOCKET_BAD
        self._sockets.append(opened := socket.socket(family, kind, protocol))
        return opened  # of which pycurl makes a duplicate


def trust() -> Mapping[int, str]:
    """The certificate authorities of this host, as options of libcurl."""
    paths = get_default_verify_paths()
    for each in (paths.cafile, str(_BUNDLE)):
        if each and Path(each).is_file():
            return {pycurl.CAINFO: each}
    return {pycurl.CAPATH: paths.capath} if paths.capath else {}
