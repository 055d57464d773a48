"""The standard health check of gRPC, over the HTTP/2 of libcurl."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

import pycurl

from netmon.probing import certificates, health_messages
from netmon.probing.attempt import Attempt
from netmon.probing.client import Client, Clients, Message, Route
from netmon.probing.errors import ProbeError
from netmon.probing.resolver import Resolver
from netmon.probing.response import STOP
from netmon.probing.secrets import SecretFolder
from netmon.probing.trust import Trust
from netmon.specs import GrpcSpec
from netmon.url_targets import WebUrl

METHOD = "/grpc.health.v1.Health/Check"
MAX_ANSWER = 4096
"""Bytes of an answer; that of a health check has seven."""
_STATUSES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
_NOT_FOUND, _UNIMPLEMENTED = 5, 12


class GrpcProber:
    """Calls health checks."""

    def __init__(self, clients: Clients, resolver: Resolver, secrets: SecretFolder) -> None:
        self._clients = clients
        self._resolver = resolver
        self._secrets = secrets

    async def probe(self, spec: GrpcSpec, attempt: Attempt) -> None:
        """Call the health check of a server and judge its answer.

        Raises:
            FAILURES: see `netmon.probing.errors`.
        """
        headers, trust = self._secrets.resolve(spec.headers), Trust.of(spec, self._secrets)
        url = WebUrl.parse(f"{'https' if spec.tls else 'http'}://{spec.called}{METHOD}")
        with attempt.timed("lookup"):
            addresses = await self._resolver.addresses(spec.host, spec.port)
        with self._clients.lent() as client:
            answer = await _call(client, spec, url, headers, Route(spec.host, spec.port, addresses), trust, attempt)
            sent = client.certificates() if spec.tls else ()
        answer.check(spec.service)
        certificates.judge(certificates.chain(url.host, sent), spec, attempt)


async def _call(
    client: Client,
    spec: GrpcSpec,
    url: WebUrl,
    headers: Mapping[str, str],
    route: Route,
    trust: Trust,
    attempt: Attempt,
) -> _Answer:
    own = {
        "content-type": "application/grpc",
        "te": "trailers",
        "grpc-timeout": f"{round(attempt.timeout_seconds * 1000)}m",
    }

    message = Message("POST", own | dict(headers), health_messages.request(spec.service))
    version = pycurl.CURL_HTTP_VERSION_2TLS if spec.tls else pycurl.CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE
    answer = _Answer()
    try:
        await client.request(url, message, route, trust, answer, reads=False, version=version)
    finally:
        attempt.add_phases(client.phases(answered=answer.answered))
    return answer


class _Answer:
    """The header, the message and the trailer of an answer, as they arrive."""

    def __init__(self) -> None:
        self._status_line = ""
        self._fields: dict[str, str] = {}
        self._body = b""
        self.answered = False
        """Whether any of it has arrived."""
        self.enough = False
        """Whether the transfer was ended because it is too long."""

    def take_header(self, line: bytes) -> int | None:
        """Take one line of the header, or of the trailer."""
        self.answered = True
        text = line.decode("latin-1").strip()
        if text.startswith("HTTP/"):
            self._status_line = text
        elif text:
            name, _, value = text.partition(":")
            self._fields[name.lower()] = value.strip()
        return None

    def take_body(self, part: bytes) -> int | None:
        """Take a part of the message."""
        self._body += part
        self.enough = len(self._body) > MAX_ANSWER
        return STOP if self.enough else None

    def check(self, service: str) -> None:
        """Judge the answer.

        Raises:
            ProbeError: it is not the one of a healthy service.
        """
        self._require_grpc()
        self._require_ok(service)
        try:
            found = health_messages.status(self._body)
        except ValueError:
            raise ProbeError("protocol", "the answer is not that of a gRPC health check") from None
        if found != health_messages.SERVING:
            raise ProbeError("not_serving", f"the status of {_named(service)} is {found}, expected SERVING")

    def _require_grpc(self) -> None:
        version, _, status = self._status_line.partition(" ")
        if version != "HTTP/2":
            raise ProbeError("protocol", "the target does not speak HTTP/2")
        if status[:3] != "200":
            raise ProbeError("http_status", f"the target answered with HTTP status {status[:3]}, expected 200")
        content = self._fields.get("content-type", "")
        if not content.startswith("application/grpc"):
            raise ProbeError("protocol", f"the target does not speak gRPC: its content type is {content or 'missing'}")
        if self.enough:
            raise ProbeError("protocol", f"the answer has more than {MAX_ANSWER} bytes")

    def _require_ok(self, service: str) -> None:
        text = self._fields.get("grpc-status", "")
        if not text.isascii() or not text.isdecimal() or len(text) > 3:
            raise ProbeError("protocol", "the answer ended without a gRPC status")
        number = int(text)
        if number == 0:
            return
        name = _STATUSES[number] if number < len(_STATUSES) else text
        if number == _NOT_FOUND and service:
            raise ProbeError("grpc_status", f"the target does not know {_named(service)} ({name})")
        if number == _UNIMPLEMENTED:
            raise ProbeError("grpc_status", f"the target has no health check grpc.health.v1.Health ({name})")
        message = unquote(self._fields.get("grpc-message", ""))
        raise ProbeError("grpc_status", f"the health check failed with {name}{': ' if message else ''}{message}")


def _named(service: str) -> str:
    return f"the service {service}" if service else "the server"
