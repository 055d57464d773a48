"""Probe specifications: one model for each kind of probe (see `netmon.kinds`)."""

from collections.abc import Hashable, Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from netmon.http_checks import HttpChecks
from netmon.http_request import HttpRequest
from netmon.network_specs import DNS_PORT, DnsSpec, PingSpec
from netmon.outbound import proxy_url
from netmon.secret_values import has_masks, masked_url
from netmon.service_specs import GrpcSpec, TcpSpec, TlsSpec
from netmon.spec_parts import (
    BaseSpec,
    Conflict,
    Endpoint,
    host_and_port,
    ip_version,
    normal_host,
    not_set,
    refuse,
    split_port,
)
from netmon.url_targets import MAX_URL_LENGTH, WebUrl

__all__ = [
    "DNS_PORT",
    "BaseSpec",
    "DnsSpec",
    "Endpoint",
    "GrpcSpec",
    "HeartbeatSpec",
    "HttpSpec",
    "Kind",
    "PingSpec",
    "Spec",
    "TcpSpec",
    "TlsSpec",
    "normal_host",
]


class HttpSpec(HttpChecks, HttpRequest):
    """An HTTP or HTTPS request; redirects are followed, unless a redirect status is expected or it is switched off."""

    follow_redirects: Annotated[bool, Field(exclude_if=bool)] = True
    """Whether the last response of redirects counts instead of the first."""
    connect_to: Annotated[str | None, Field(max_length=260, exclude_if=not_set, examples=["192.0.2.7:8443"])] = None
    """Connect to this host, or host:port, instead of that of the URL, whose name is used for TLS and in the request."""
    proxy: Annotated[
        str | None, Field(max_length=MAX_URL_LENGTH, exclude_if=not_set, examples=["http://proxy.example.org:3128"])
    ] = None
    """An HTTP proxy through which the requests are sent; it resolves the names."""

    @field_validator("connect_to")
    @classmethod
    def _valid_connect_to(cls, text: str | None) -> str | None:
        return None if text is None else host_and_port(text)

    @field_validator("proxy")
    @classmethod
    def _valid_proxy(cls, text: str | None) -> str | None:
        return None if text is None else proxy_url(text).origin

    @model_validator(mode="after")
    def _without_conflicts(self) -> Self:
        found = [*self.request_conflicts(), *self.check_conflicts(self.method, follows=self.follow_redirects)]
        refuse(self, [*found, *self._connection_conflicts()])
        return self

    def _connection_conflicts(self) -> Iterator[Conflict]:
        if self.connect_to is not None and self.proxy is not None:
            yield "proxy", "connect_to and proxy exclude each other: a proxy connects by itself"
        if self.ip_version is not None and ip_version(self.endpoint.host) not in (None, self.ip_version):
            yield "ip_version", f"{self.endpoint.host} is an address of IPv{ip_version(self.endpoint.host)}"

    @property
    def address(self) -> str:
        """The URL."""
        return self.url

    @property
    def public_address(self) -> str:
        """The URL with the values of its query masked."""
        return masked_url(self.url)

    @property
    def endpoint(self) -> Endpoint:
        """Host and port that are connected to: those of the URL, unless a proxy or another host is named."""
        url = WebUrl.parse(self.proxy or self.url)
        if self.connect_to is None:
            return Endpoint(url.host, url.port)
        host, port = split_port(self.connect_to)
        return Endpoint(host, port or url.port)

    @property
    def destination(self) -> Hashable:
        """Who gets the credentials: the origin, and the host that is connected to."""
        return WebUrl.parse(self.url).origin, self.endpoint

    def masked(self) -> Self:
        """This spec with everything masked that may be a credential; references to secrets reveal none, and stay."""
        return self.model_copy(update=self.masked_credentials())

    @property
    def has_masked_queries(self) -> bool:
        """Whether values in the queries of its URLs are masked."""
        return has_masks(self.url) or has_masks(self.expected_url or "")

    def for_readers(self) -> Self:
        """This spec masked, also the values in the queries of its URLs."""
        expected = self.expected_url and masked_url(self.expected_url)
        urls = {"url": masked_url(self.url), "expected_url": expected}
        return self.model_copy(update={**self.masked_credentials(), **urls})


class HeartbeatSpec(BaseSpec):
    """Nothing is probed: a job reports to a URL of its own, and silence is the failure (`netmon.heartbeats`).

    The interval of the target is the time from one heartbeat to the next.
    """

    kind: Literal["heartbeat"] = "heartbeat"
    grace_seconds: Annotated[int, Field(ge=0, le=86_400)] = 60
    """How late a heartbeat may be."""

    @property
    def address(self) -> str:
        """The kind alone: the heartbeat URL is a credential."""
        return "heartbeat"

    @property
    def endpoint(self) -> None:
        """None: nothing is contacted."""
        return None

    def patience_seconds(self, attempts_seconds: float) -> float:  # noqa: ARG002 - there are no attempts
        """As long as a heartbeat may be late."""
        return self.grace_seconds


Kind = Literal["http", "tcp", "tls", "grpc", "dns", "ping", "heartbeat"]
Spec = Annotated[
    HttpSpec | TcpSpec | TlsSpec | GrpcSpec | DnsSpec | PingSpec | HeartbeatSpec, Field(discriminator="kind")
]
