"""An HTTP request, with the verdict of a browser."""

from __future__ import annotations

import asyncio
import base64
import time
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address

from netmon.guard import Guard
from netmon.http_checks import MAX_BODY, MAX_REDIRECTS
from netmon.probing import assertions, certificates
from netmon.probing.assertions import Answer
from netmon.probing.attempt import Attempt
from netmon.probing.client import Client, Clients, Message, Route
from netmon.probing.errors import SECRET, ProbeError
from netmon.probing.locations import follow
from netmon.probing.resolver import Resolver
from netmon.probing.response import Response
from netmon.probing.secrets import SecretFolder
from netmon.probing.text_search import TextSearch
from netmon.probing.trust import Trust
from netmon.specs import HttpSpec
from netmon.trust import identity_of
from netmon.url_targets import WebUrl

__all__ = ["MAX_BODY", "MAX_REDIRECTS", "HttpProber"]

_NO_CREDENTIALS = frozenset(
    {"accept", "accept-language", "cache-control", "content-type", "host", "origin", "referer", "user-agent"}
)
"""Headers whose values are no credentials."""
_HIDDEN_LENGTH = 4
"""Characters of a value that sentences do not show if the target echoes it."""
_IN_LOOP = 16 * 1024
"""Bytes of a response that regular expressions are applied to in the event loop; a longer one would hold up others."""
_OF_BODY = frozenset({"content-type", "content-encoding", "content-language", "content-location"})
"""The headers that describe the body of a request, and are left out with it (Fetch standard)."""


class HttpProber:
    """Sends requests and checks the responses."""

    def __init__(self, clients: Clients, guard: Guard, resolver: Resolver, secrets: SecretFolder) -> None:
        self._clients = clients
        self._ways = _Ways(guard, resolver, secrets)
        self._secrets = secrets

    async def probe(self, spec: HttpSpec, attempt: Attempt) -> None:
        """Send one request, follow its redirects, and check the last response.

        Raises:
            FAILURES: see `netmon.probing.errors`.
        """
        request = _Request.of(spec, self._secrets)
        with self._clients.lent() as client:
            await _Probe(spec, request, attempt, client, self._ways).run()


@dataclass(frozen=True, slots=True)
class _Request:
    """The message to the origin of the target, with the values of its secrets."""

    message: Message
    trust: Trust

    @classmethod
    def of(cls, spec: HttpSpec, secrets: SecretFolder) -> _Request:
        headers = secrets.resolve(spec.headers)
        if spec.content_type is not None:
            headers["Content-Type"] = spec.content_type
        if spec.username is not None:
            headers["Authorization"] = _basic(secrets.line(spec.username), secrets.line(spec.password or ""))
        if spec.bearer_token is not None:
            headers["Authorization"] = f"Bearer {secrets.line(spec.bearer_token)}"
        body = None if spec.body is None else secrets.text(spec.body).encode()
        trust = Trust.of(spec, secrets)
        if spec.client_certificate is not None:
            trust = replace(trust, identity=secrets.text(spec.client_certificate, identity_of))
        return cls(Message(spec.method, headers, body), trust)

    @property
    def hidden(self) -> list[str]:
        """What may be a credential in it: the values of headers, without the scheme of an authentication."""
        values = [value for name, value in self.message.headers.items() if name.lower() not in _NO_CREDENTIALS]
        return [text for value in values if (text := value.rpartition(" ")[2]) and len(text) >= _HIDDEN_LENGTH]

    def redirected(self, status: int | None) -> _Request:
        """The request after a redirect with a status."""
        message = self.message
        if not (status == 303 or (status in (301, 302) and message.method == "POST")):
            return self
        headers = {name: value for name, value in message.headers.items() if name.lower() not in _OF_BODY}
        return replace(self, message=Message("HEAD" if message.method == "HEAD" else "GET", headers))

    def elsewhere(self) -> _Request:
        """The request to another origin: without what may be a credential.

        Raises:
            ProbeError: nothing would be left of it.
        """
        if self.message.body is not None:
            raise ProbeError("redirects", "redirected to another origin, to which the body of the request is not sent")
        return _Request(Message(self.message.method, {}), replace(self.trust, identity=None))


def _basic(username: str, password: str) -> str:
    if ":" in username:
        raise ProbeError(SECRET, "the secret of the username has a colon")
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


class _Ways:
    """Where requests are sent."""

    def __init__(self, guard: Guard, resolver: Resolver, secrets: SecretFolder) -> None:
        self._guard = guard
        self._resolver = resolver
        self._secrets = secrets

    async def to(self, url: WebUrl, spec: HttpSpec, *, own: bool) -> Route:
        """The way to a URL; `own` is whether it is of the origin of the target.

        Raises:
            FAILURES: see `netmon.probing.errors`.
        """
        # A proxy resolves the names itself; every other origin than that of the target is connected to directly.
        if own or spec.proxy:
            host, port = spec.endpoint
        else:
            host, port = url.host, url.port
        chosen = spec.proxy or (own and spec.connect_to)
        if not chosen and (proxy := self._guard.proxy_to(url.host)):
            login = None if proxy.login is None else _login(self._secrets.line(proxy.login))
            addresses = _of_version(spec, proxy.host, await self._resolver.addresses(proxy.host, vouched=True))
            return Route(proxy.host, proxy.port, addresses, by_proxy=True, login=login)
        addresses = _of_version(spec, host, await self._resolver.addresses(host, port))
        return Route(host, port or url.port, addresses, by_proxy=spec.proxy is not None)


def _of_version(spec: HttpSpec, host: str, addresses: list[str]) -> list[str]:
    version = spec.ip_version
    found = [each for each in addresses if version is None or ip_address(each).version == version]
    if not found:
        raise ProbeError("dns", f"{host} has no reachable IPv{version} address")
    return found


def _login(text: str) -> str:
    if ":" not in text:
        raise ProbeError(SECRET, "the secret of the proxy is not user:password")
    return text


class _Probe:
    """One probe: a request, and those that its redirects lead to."""

    def __init__(self, spec: HttpSpec, request: _Request, attempt: Attempt, client: Client, ways: _Ways) -> None:
        self._spec = spec
        self._own = request
        self._hidden = request.hidden
        self._attempt = attempt
        self._client = client
        self._ways = ways
        self._follows = spec.follow_redirects and not spec.expects_redirect
        self._certificates: list[certificates.Certificate] = []

    async def run(self) -> None:
        """Follow the redirects to the last response, and check it."""
        first = url = WebUrl.parse(self._spec.url)
        for redirects in range(MAX_REDIRECTS + 1):
            response = await self._request(url, own=url.origin == first.origin)
            if response.location is None:
                await self._check(response, url, redirects)
                return
            self._own = self._own.redirected(response.status)
            url = follow(url, response.location)
        raise ProbeError("redirects", f"more than {MAX_REDIRECTS} redirects")

    async def _request(self, url: WebUrl, *, own: bool) -> Response:
        """Send one request; `own` is whether it is to the origin of the target."""
        request = self._own if own else self._own.elsewhere()
        began = time.perf_counter()
        route = await self._ways.to(url, self._spec, own=own)
        self._attempt.add_phases({"lookup": time.perf_counter() - began})
        spec, text = self._spec, self._spec.body_contains
        search = partial(TextSearch, text) if text is not None else None
        response = Response(search, collects=spec.collects_body, follows=self._follows)
        self._attempt.http_status = self._attempt.certificate_days = None
        try:
            await self._client.request(url, request.message, route, request.trust, response, reads=spec.reads_body)
        finally:  # also if the time is over in the middle of the body
            self._attempt.add_phases(self._client.phases(answered=response.answered))
            self._attempt.http_status = response.status if response.begun and response.location is None else None
        if route.by_proxy and response.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            raise ProbeError("proxy", "the proxy refused the request with status 407")
        if response.search:
            response.search.end()
        if url.scheme == "https":
            self._note_certificates(url.host)
        return response

    def _note_certificates(self, host: str) -> None:
        found = certificates.chain(host, self._client.certificates())
        if found:
            self._attempt.certificate_days = round(found[0].days, 2)
            self._certificates += found

    async def _check(self, response: Response, url: WebUrl, redirects: int) -> None:
        self._attempt.http_status = response.status
        if response.status is None or response.status < 100:
            raise ProbeError("protocol", "the response is not valid HTTP")
        answer = Answer(
            status=response.status,
            protocol=response.protocol,
            url=url.text,
            redirects=redirects,
            headers=response.headers,
            body=bytes(response.body),
            received=response.received,
            contains=response.search is not None and response.search.found,
            phases=self._attempt.phases,
            certificates=self._certificates,
            hidden=self._hidden,
        )
        size = len(response.body) + sum(map(len, response.headers.values()))
        if size > _IN_LOOP and self._spec.has_expressions:
            # RE2 releases the interpreter, and takes a second at worst.
            failed = await asyncio.to_thread(assertions.failures, self._spec, answer)
        else:
            failed = assertions.failures(self._spec, answer)
        if failed:
            raise ProbeError(failed[0].code, "; ".join(each.sentence for each in failed))
        if found := assertions.warning(self._spec, answer):
            self._attempt.warning, self._attempt.detail = found
