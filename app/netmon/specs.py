"""Probe specifications: one model for each kind of probe (see `netmon.kinds`)."""

import re
from abc import abstractmethod
from collections.abc import Callable
from ipaddress import ip_address
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from netmon import zone
from netmon.hostnames import to_ascii
from netmon.url_targets import MAX_URL_LENGTH, InvalidTargetError, WebUrl, parse_target

MASK = "•••"
"""Returned instead of the values of headers, many of which are credentials."""
SECRET = "secret:"  # noqa: S105 - a prefix
"""A header value with this prefix names a file, whose content the prober sends (`netmon.probing.secrets`)."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", re.ASCII)
_UNSUITABLE_HEADERS = frozenset(
    {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_SECRET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
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


def _is_none(value: object) -> bool:
    return value is None


def secret_name(value: str) -> str | None:
    """The name of the secret that a header value refers to; None if the value is sent as it is."""
    return value.removeprefix(SECRET) if value.startswith(SECRET) else None


def _valid_reference(value: str) -> str:
    name = secret_name(value)
    if name is not None and not _SECRET_NAME.fullmatch(name):
        raise ValueError(
            f"{SECRET} must be followed by the name of a file in secrets/targets: letters, digits, '.', '_' and '-', "
            "starting with a letter or a digit, at most 100 characters"
        )
    return value


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
HeaderValue = Annotated[
    str,
    StringConstraints(max_length=4096, pattern=rf"^([\t\x20-\x7e]*|{MASK})$"),
    AfterValidator(_valid_reference),
]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00]*$")]
"""Text that PostgreSQL can store: without null characters."""
StatusCode = Annotated[int, Field(ge=100, le=599)]


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

    def masked(self) -> Self:
        """This spec without its credentials."""
        return self


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
    connect_to: Annotated[str | None, Field(max_length=260, exclude_if=_is_none, examples=["192.0.2.7:8443"])] = None
    """Connect to this host, or host:port, instead of that of the URL, whose name is used for TLS and in the request."""
    proxy: Annotated[
        str | None, Field(max_length=MAX_URL_LENGTH, exclude_if=_is_none, examples=["http://proxy.example.org:3128"])
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
        host, port = _split_port(self.connect_to)
        return Endpoint(host, port or url.port)

    def masked(self) -> Self:
        """This spec with the values of its headers masked; a reference to a secret reveals none, and stays."""
        headers = {name: MASK if secret_name(value) is None else value for name, value in self.headers.items()}
        return self.model_copy(update={"headers": headers})


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


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
