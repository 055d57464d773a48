"""Probe specifications: one model for each kind of probe (see `netmon.kinds`)."""

import re
from abc import abstractmethod
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from netmon import zone
from netmon.hostnames import to_ascii
from netmon.http_checks import HttpChecks, Text
from netmon.http_request import Conflict, HttpRequest, not_set
from netmon.secret_values import MASK
from netmon.url_targets import MAX_URL_LENGTH, InvalidTargetError, WebUrl, parse_target

_RESOLVER = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<v4>[^:]+)|(?P<bare>.+?))(?(bare)|(?::(?P<port>[0-9]{1,5}))?)")

DNS_PORT = 53


def normal_host(text: str) -> str:
    """The canonical form of a host name or IP address; brackets around an IPv6 address are removed.

    Raises:
        ValueError: `text` is neither.
    """
    name = text.strip().removeprefix("[").removesuffix("]")
    try:
        return str(ip_address(name))
    except ValueError:
        name = to_ascii(name)
    try:
        return str(ip_address(name))  # of digits that are not ASCII
    except ValueError:
        return name


def _split_port(text: str) -> tuple[str, int | None]:
    """The host and the port of `host`, `host:port` or `[address]:port`."""
    found = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::(\d{1,5}))?|(.*)", text)
    host, port, other = found.groups() if found else (None, None, text)
    return (host or other or "").strip("[]"), int(port) if port else None


def _host_and_port(text: str) -> str:
    host, port = _split_port(text.strip())
    if port is not None and not 1 <= port <= 65535:
        raise ValueError("the port must be from 1 to 65535")
    try:
        name = normal_host(host)
    except ValueError:
        raise ValueError("must be host or host:port, an IPv6 address in brackets") from None
    return _bracketed(name) + (f":{port}" if port else "")


class Endpoint(NamedTuple):
    """A host (name or IP address), and the port on it if the protocol has ports."""

    host: str
    port: int | None


def _is_default(default: object) -> Callable[[object], bool]:
    """Leaves a setting with its default out of stored specs, so that the former release can read them."""
    return lambda value: value == default


def _resolver(text: str | None) -> str | None:
    """The canonical form: without the port if it is that of DNS."""
    if text is None:
        return None
    address, port = _resolver_endpoint(text)
    return address if port == DNS_PORT else f"{_bracketed(address)}:{port}"


def _resolver_endpoint(text: str) -> Endpoint:
    found = _RESOLVER.fullmatch(text.strip())
    try:
        address = str(ip_address(found["v6"] or found["v4"] or found["bare"])) if found else ""
    except ValueError:
        address = ""
    port = int(found["port"] or DNS_PORT) if found else 0
    if not address or "%" in address or not 1 <= port <= 65535:
        raise ValueError("not an IP address with an optional port, such as 192.0.2.53 or [2001:db8::53]:5353")
    return Endpoint(address, port)


Host = Annotated[str, Field(max_length=253, examples=["example.org"]), AfterValidator(normal_host)]
Name = Annotated[str, Field(max_length=253, examples=["example.org"]), AfterValidator(to_ascii)]


class BaseSpec(BaseModel):
    """What the specs of all kinds have in common; a kind that lacks one of the abstract members cannot be created."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    @abstractmethod
    def address(self) -> str:
        """The target as a URL; for a kind without a registered scheme, in a similar form."""

    @property
    @abstractmethod
    def endpoint(self) -> Endpoint | None:
        """The endpoint that the probe connects to, which `netmon.guard` checks; None if it connects to none."""

    @property
    def public_address(self) -> str:
        """The address without parts that may be credentials."""
        return self.address

    @property
    def cautions(self) -> list[str]:
        """What makes the settings less safe than they could be, as sentences for people."""
        return []

    def masked(self) -> Self:
        """This spec without its credentials."""
        return self


class HttpSpec(HttpChecks, HttpRequest, BaseSpec):
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
        return None if text is None else _host_and_port(text)

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

    @model_validator(mode="after")
    def _without_conflicts(self) -> Self:
        found = [*self.request_conflicts(), *self.check_conflicts(self.method, follows=self.follow_redirects)]
        found += self._connection_conflicts()
        if found:
            raise ValidationError.from_exception_data(
                type(self).__name__,
                [
                    InitErrorDetails(
                        type=PydanticCustomError("conflict", "{reason}", {"reason": reason}), loc=(name,), input=None
                    )
                    for name, reason in found
                ],
            )
        return self

    def _connection_conflicts(self) -> Iterator[Conflict]:
        if self.connect_to is not None and self.proxy is not None:
            yield "proxy", "connect_to and proxy exclude each other: a proxy connects by itself"
        if self.ip_version is not None and _version(self.endpoint.host) not in (None, self.ip_version):
            yield "ip_version", f"{self.endpoint.host} is an address of IPv{_version(self.endpoint.host)}"

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
        host, port = _split_port(self.connect_to)
        return Endpoint(host, port or url.port)

    @property
    def cautions(self) -> list[str]:
        """That certificates are not verified."""
        return [] if self.verify_tls else ["certificates are not verified: anyone on the way can answer for the target"]

    def masked(self) -> Self:
        """This spec with everything masked that may be a credential; references to secrets reveal none, and stay."""
        return self.model_copy(update=self.masked_credentials())


class TcpSpec(BaseSpec):
    """A TCP connection that is opened and closed."""

    kind: Literal["tcp"] = "tcp"
    host: Host
    port: Annotated[int, Field(ge=1, le=65535)]

    @property
    def address(self) -> str:
        """Host and port as a URL."""
        return f"tcp://{_bracketed(self.host)}:{self.port}"

    @property
    def endpoint(self) -> Endpoint:
        """Host and port."""
        return Endpoint(self.host, self.port)


class DnsSpec(BaseSpec):
    """A query to the name servers of the platform's host, or to one of choice."""

    kind: Literal["dns"] = "dns"
    name: Name
    record: Literal["A", "AAAA", "CAA", "CNAME", "MX", "NS", "SOA", "SRV", "TXT"] = "A"
    expected: list[Text] = Field(default_factory=list, max_length=32)
    """Values that must be among the answers, in the syntax of zone files; empty: any answer."""
    match: Annotated[Literal["contains", "equals"], Field(exclude_if=_is_default("contains"))] = "contains"
    """Whether the answers contain the expected values, or are these and no others."""
    resolver: Annotated[
        str | None,
        Field(max_length=60, examples=["192.0.2.53", "[2001:db8::53]:5353"], exclude_if=_is_default(None)),
        AfterValidator(_resolver),
    ] = None
    """The name server that is asked, an IP address with an optional port; null: those of the platform's host."""

    @model_validator(mode="after")
    def _valid_values(self) -> Self:
        for value in self.expected:
            zone.parse(self.record, value)
        if self.match == "equals" and not self.expected:
            raise ValueError("match: equals needs expected answers")
        return self

    @property
    def address(self) -> str:
        """The query as a URL (RFC 4501)."""
        if self.endpoint is None:
            return f"dns:{self.name}?type={self.record}"
        address, port = self.endpoint
        server = _bracketed(address) + (f":{port}" if port != DNS_PORT else "")
        return f"dns://{server}/{self.name}?type={self.record}"

    @property
    def endpoint(self) -> Endpoint | None:
        """The name server of the spec. The prober checks the addresses in the answer."""
        return _resolver_endpoint(self.resolver) if self.resolver else None


class PingSpec(BaseSpec):
    """An ICMP echo request."""

    kind: Literal["ping"] = "ping"
    host: Host

    @property
    def address(self) -> str:
        """The host; there is no registered URL scheme for pings."""
        return f"ping:{_bracketed(self.host)}"

    @property
    def endpoint(self) -> Endpoint:
        """The host; ICMP has no ports."""
        return Endpoint(self.host, None)


Kind = Literal["http", "tcp", "dns", "ping"]
Spec = Annotated[HttpSpec | TcpSpec | DnsSpec | PingSpec, Field(discriminator="kind")]


def _version(host: str) -> int | None:
    """The version of IP of an address; None if it is a name."""
    try:
        return ip_address(host).version
    except ValueError:
        return None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
