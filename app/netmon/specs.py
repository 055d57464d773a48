"""Probe specifications: one model for each kind of probe (see `netmon.kinds`)."""

import re
from abc import abstractmethod
from ipaddress import ip_address
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator
from yarl import URL

from netmon import zone
from netmon.url_targets import MAX_URL_LENGTH, InvalidTargetError, parse_target

MASK = "•••"
"""Returned instead of the values of headers, many of which are credentials."""
SECRET = "secret:"  # noqa: S105 - a prefix
"""A header value with this prefix names a file, whose content the prober sends (`netmon.probing.secrets`)."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", re.ASCII)
_UNSUITABLE_HEADERS = frozenset(
    {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_SECRET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)


def normal_host(text: str) -> str:
    """The canonical form of a host name or IP address; brackets around an IPv6 address are removed.

    Raises:
        ValueError: `text` is neither.
    """
    name = text.strip().removeprefix("[").removesuffix("]")
    try:
        return str(ip_address(name))
    except ValueError:
        return _name(name)


def _name(text: str) -> str:
    try:
        name = text.strip().rstrip(".").lower().encode("ascii" if text.isascii() else "idna").decode()
    except UnicodeError:
        raise ValueError("not a valid host name") from None
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError("not a valid host name")
    return name


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


Host = Annotated[str, Field(max_length=253, examples=["example.org"]), AfterValidator(normal_host)]
Name = Annotated[str, Field(max_length=253, examples=["example.org"]), AfterValidator(_name)]
HeaderValue = Annotated[
    str,
    StringConstraints(max_length=4096, pattern=rf"^([\t\x20-\x7e]*|{MASK})$"),
    AfterValidator(_valid_reference),
]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00]*$")]
"""Text that PostgreSQL can store: without null characters."""
StatusCode = Annotated[int, Field(ge=100, le=599)]


class Endpoint(NamedTuple):
    """A host (name or IP address), and the port on it if the protocol has ports."""

    host: str
    port: int | None


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

    def patience_seconds(self, attempts_seconds: float) -> float:
        """By how much a result may follow its interval: as long as all attempts of a probe may take."""
        return attempts_seconds


class HttpSpec(BaseSpec):
    """An HTTP or HTTPS request; redirects are followed unless a redirect status is expected."""

    kind: Literal["http"] = "http"
    url: Annotated[str, Field(max_length=MAX_URL_LENGTH, examples=["https://example.org/"])]
    method: Literal["GET", "HEAD", "POST", "PUT", "OPTIONS"] = "GET"
    headers: dict[str, HeaderValue] = Field(default_factory=dict, max_length=32)
    expected_status: list[StatusCode] = Field(default_factory=list, max_length=32)
    """Status codes that count as success; empty: all below 400."""
    body_contains: Text | None = None
    """Text that the first mebibyte of the response body must contain."""
    certificate_days: Annotated[int, Field(ge=0, le=365)] = 14
    """The result is a warning if the certificate expires in fewer days."""

    @field_validator("url")
    @classmethod
    def _valid_url(cls, url: str) -> str:
        try:
            return parse_target(url).url
        except InvalidTargetError as error:
            raise ValueError(str(error)) from None

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
        """Host and port of the URL."""
        url = URL(self.url)
        return Endpoint(url.host or "", url.port)

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
    """A query to the resolver of the platform's host."""

    kind: Literal["dns"] = "dns"
    name: Name
    record: Literal["A", "AAAA", "CAA", "CNAME", "MX", "NS", "SOA", "SRV", "TXT"] = "A"
    expected: list[Text] = Field(default_factory=list, max_length=32)
    """Values that must be among the answers, in the syntax of zone files; empty: any answer."""

    @model_validator(mode="after")
    def _valid_values(self) -> Self:
        for value in self.expected:
            zone.parse(self.record, value)
        return self

    @property
    def address(self) -> str:
        """The query as a URL (RFC 4501)."""
        return f"dns:{self.name}?type={self.record}"

    @property
    def endpoint(self) -> None:
        """None: only the resolver is contacted. The prober checks the addresses in the answer."""
        return None


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


Kind = Literal["http", "tcp", "dns", "ping", "heartbeat"]
Spec = Annotated[HttpSpec | TcpSpec | DnsSpec | PingSpec | HeartbeatSpec, Field(discriminator="kind")]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
