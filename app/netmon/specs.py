"""Probe specifications: one model for each kind of probe (see `netmon.kinds`)."""

import re
from collections.abc import Hashable
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from netmon.network_specs import DNS_PORT, DnsSpec, PingSpec
from netmon.service_specs import GrpcSpec, TcpSpec, TlsSpec
from netmon.spec_parts import (
    MASK,
    SECRET,
    BaseSpec,
    Endpoint,
    HeaderValue,
    Text,
    host_and_port,
    is_none,
    masked_headers,
    normal_host,
    secret_name,
    split_port,
)
from netmon.url_targets import MAX_URL_LENGTH, InvalidTargetError, WebUrl, parse_target

__all__ = [
    "DNS_PORT",
    "MASK",
    "SECRET",
    "BaseSpec",
    "DnsSpec",
    "Endpoint",
    "GrpcSpec",
    "HttpSpec",
    "Kind",
    "PingSpec",
    "Spec",
    "TcpSpec",
    "TlsSpec",
    "normal_host",
    "secret_name",
]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", re.ASCII)
_UNSUITABLE_HEADERS = frozenset(
    {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
StatusCode = Annotated[int, Field(ge=100, le=599)]


class HttpSpec(BaseSpec):
    """An HTTP or HTTPS request; redirects are followed, unless a redirect status is expected or it is switched off."""

    kind: Literal["http"] = "http"
    url: Annotated[str, Field(max_length=MAX_URL_LENGTH, examples=["https://example.org/"])]
    method: Literal["GET", "HEAD", "POST", "PUT", "OPTIONS"] = "GET"
    headers: dict[str, HeaderValue] = Field(default_factory=dict, max_length=32)
    expected_status: list[StatusCode] = Field(default_factory=list, max_length=32)
    """Status codes that count as success; empty: all below 400."""
    body_contains: Text | None = None
    """Text that the first mebibyte of the response body must contain."""
    certificate_days: Annotated[int, Field(ge=0, le=365)] = 14
    """The result is a warning if a certificate (of the target, an intermediate one, or of a host that redirects)
    expires in fewer days."""
    follow_redirects: Annotated[bool, Field(exclude_if=bool)] = True
    """Whether the last response of redirects counts instead of the first."""
    connect_to: Annotated[str | None, Field(max_length=260, exclude_if=is_none, examples=["192.0.2.7:8443"])] = None
    """Connect to this host, or host:port, instead of that of the URL, whose name is used for TLS and in the request."""
    proxy: Annotated[
        str | None, Field(max_length=MAX_URL_LENGTH, exclude_if=is_none, examples=["http://proxy.example.org:3128"])
    ] = None
    """An HTTP proxy through which the requests are sent; it resolves the names."""

    @field_validator("url")
    @classmethod
    def _valid_url(cls, url: str) -> str:
        try:
            return parse_target(url).url
        except InvalidTargetError as error:
            raise ValueError(str(error)) from None

    @field_validator("connect_to")
    @classmethod
    def _valid_connect_to(cls, text: str | None) -> str | None:
        return None if text is None else host_and_port(text)

    @field_validator("proxy")
    @classmethod
    def _valid_proxy(cls, text: str | None) -> str | None:
        if text is None:
            return None
        try:
            url = WebUrl.parse(parse_target(text).url)
        except InvalidTargetError as error:
            raise ValueError(str(error)) from None
        if url.scheme != "http" or url.target != "/":
            raise ValueError("a proxy is http://host:port, without a path")
        return url.origin

    @field_validator("headers")
    @classmethod
    def _valid_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name in headers:
            if not _TOKEN.fullmatch(name):
                raise ValueError("not a valid header name")
            if name.lower() in _UNSUITABLE_HEADERS:
                raise ValueError(f"{name} is a connection header, which the probe sets itself")
        if len({name.lower() for name in headers}) < len(headers):
            raise ValueError("duplicate header")
        return headers

    @model_validator(mode="after")
    def _response_has_body(self) -> Self:
        if self.method == "HEAD" and self.body_contains is not None:
            raise ValueError("a HEAD response has no body: remove body_contains or use GET")
        return self

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.connect_to is not None and self.proxy is not None:
            raise ValueError("connect_to and proxy exclude each other: a proxy connects by itself")
        return self

    @property
    def address(self) -> str:
        """The URL."""
        return self.url

    @property
    def public_address(self) -> str:
        """The URL with the values of its query masked."""
        url, mark, query = self.url.partition("?")
        masked = re.sub(r"(?<==)[^&]*|(?<![^&])[^&=]+(?![^&])", MASK, query)
        return url + mark + masked

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
        """Who gets the headers: the origin, and the host that is connected to."""
        return WebUrl.parse(self.url).origin, self.endpoint

    def masked(self) -> Self:
        """This spec with the values of its headers masked; a reference to a secret reveals none, and stays."""
        return self.model_copy(update={"headers": masked_headers(self.headers)})


Kind = Literal["http", "tcp", "tls", "grpc", "dns", "ping"]
Spec = Annotated[HttpSpec | TcpSpec | TlsSpec | GrpcSpec | DnsSpec | PingSpec, Field(discriminator="kind")]
