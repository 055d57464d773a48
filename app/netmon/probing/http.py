"""An HTTP request, with the verdict of a browser."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from functools import partial

from netmon.probing import certificates
from netmon.probing.attempt import Attempt
from netmon.probing.client import MAX_BODY, REDIRECTS, Client, Response, Route
from netmon.probing.errors import ProbeError
from netmon.probing.locations import follow
from netmon.probing.resolver import Resolver
from netmon.probing.secrets import SecretFolder
from netmon.probing.text_search import TextSearch
from netmon.probing.transfers import Transfers
from netmon.specs import HttpSpec
from netmon.url_targets import WebUrl

__all__ = ["MAX_BODY", "MAX_REDIRECTS", "HttpProber"]

MAX_REDIRECTS = 20
"""As many as the Fetch standard allows."""


class HttpProber:
    """Sends requests and checks the responses; close it after use."""

    def __init__(self, resolver: Resolver, secrets: SecretFolder, version: str) -> None:
        self._resolver = resolver
        self._secrets = secrets
        self._agent = f"network-monitor/{version}"
        self._transfers: Transfers | None = None
        self._idle: list[Client] = []
        self._numbers = itertools.count()

    async def close(self) -> None:
        """Free everything; no probe may be running."""
        for client in self._idle:
            client.close()
        if self._transfers:
            self._transfers.close()

    async def probe(self, spec: HttpSpec, attempt: Attempt) -> None:
        """Send one request, follow its redirects, and check the last response.

        Raises:
            FAILURES: see `netmon.probing.errors`.
        """
        headers = self._secrets.resolve(spec.headers)
        self._transfers = self._transfers or Transfers()
        client = self._idle.pop() if self._idle else Client(next(self._numbers), self._agent, self._transfers)
        try:
            client.forget()
            await _Probe(spec, headers, attempt, client, self._resolver).run()
        finally:
            self._idle.append(client)


class _Probe:
    """One probe: a request, and those that its redirects lead to."""

    def __init__(
        self, spec: HttpSpec, headers: Mapping[str, str], attempt: Attempt, client: Client, resolver: Resolver
    ) -> None:
        self._spec = spec
        self._headers = headers
        self._attempt = attempt
        self._client = client
        self._resolver = resolver
        # A spec that expects a redirect status must see the redirect.
        self._follows = spec.follow_redirects and REDIRECTS.isdisjoint(spec.expected_status)
        self._certificates: list[certificates.Certificate] = []

    async def run(self) -> None:
        """Follow the redirects to the last response, and check it."""
        first = url = WebUrl.parse(self._spec.url)
        method: str = self._spec.method
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._request(url, method, own=url.origin == first.origin)
            if response.location is None:
                self._check(response)
                return
            if response.status == 303 or (response.status in (301, 302) and method == "POST"):
                method = "HEAD" if method == "HEAD" else "GET"
            url = follow(url, response.location)
        raise ProbeError("redirects", f"more than {MAX_REDIRECTS} redirects")

    async def _request(self, url: WebUrl, method: str, *, own: bool) -> Response:
        """Send one request; `own` is whether it is to the origin of the target."""
        route = await self._route(url, own=own)
        text = self._spec.body_contains
        response = Response(partial(TextSearch, text) if text is not None else None, follows=self._follows)
        # The headers are often credentials, and a name in them is that of the target.
        headers = self._headers if own else {}
        self._attempt.http_status = self._attempt.certificate_days = None
        try:
            await self._client.request(url, method, headers, route, response, reads=text is not None)
        finally:  # also if the time is over in the middle of the body
            self._attempt.add_phases(self._client.phases(answered=response.answered))
            self._attempt.http_status = response.status if response.begun and response.location is None else None
        if response.search:
            response.search.end()
        if url.scheme == "https":
            self._note_certificates(url.host)
        return response

    async def _route(self, url: WebUrl, *, own: bool) -> Route:
        # A proxy resolves the names itself; every other origin than that of the target is connected to directly.
        host, port = self._spec.endpoint if own or self._spec.proxy else (url.host, url.port)
        began = time.perf_counter()
        addresses = await self._resolver.addresses(host, port)
        self._attempt.add_phases({"lookup": time.perf_counter() - began})
        return Route(host, port or url.port, addresses, by_proxy=self._spec.proxy is not None)

    def _note_certificates(self, host: str) -> None:
        found = certificates.chain(host, self._client.certificates())
        if found:
            self._attempt.certificate_days = round(found[0].days, 2)
            self._certificates += found

    def _check(self, response: Response) -> None:
        self._check_certificates()
        self._check_status(response.status)
        if self._spec.body_contains is not None and not (response.search and response.search.found):
            raise ProbeError(
                "body", f"the first {response.received} bytes of the body do not contain the expected text"
            )

    def _check_certificates(self) -> None:
        first = min(self._certificates, key=lambda each: each.days, default=None)
        if first and first.days < self._spec.certificate_days:
            self._attempt.warning = "certificate"
            self._attempt.detail = f"{first.subject} expires in {first.days:.1f} days"

    def _check_status(self, status: int | None) -> None:
        self._attempt.http_status = status
        if status is None or status < 100:
            raise ProbeError("protocol", "the response is not valid HTTP")
        if self._spec.expected_status:
            if status not in self._spec.expected_status:
                expected = ", ".join(map(str, self._spec.expected_status))
                raise ProbeError("http_status", f"the target answered with status {status}, expected {expected}")
        elif status >= 400:
            raise ProbeError("http_status", f"the target answered with status {status}")
