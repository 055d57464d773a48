"""What a target is probed with: one model a kind, each with everything that the probe itself needs to know."""

import re
from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from netmon import zone
from netmon.url_targets import MAX_URL_LENGTH, InvalidTargetError, parse_target

MASK = "•••"
"""What is told instead of the value of a header: many of them are credentials."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", re.ASCII)
_UNSUITABLE_HEADERS = frozenset(
    {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)


def normal_host(text: str) -> str:
    """A host's name or address, without what a URL would put around it.

    Raises:
        ValueError: it is neither.
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
        raise ValueError("not the name of a host") from None
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError("not the name of a host")
    return name


Host = Annotated[str, Field(max_length=253, examples=["example.org"]), AfterValidator(normal_host)]
Name = Annotated[str, Field(max_length=253, examples=["example.org"]), AfterValidator(_name)]
HeaderValue = Annotated[str, StringConstraints(max_length=4096, pattern=rf"^([\t\x20-\x7e]*|{MASK})$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00]*$")]
"""What PostgreSQL can store, which has no null character."""
StatusCode = Annotated[int, Field(ge=100, le=599)]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HttpSpec(_Spec):
    """One request over HTTP or HTTPS; redirects are followed, unless one of them is what is expected."""

    kind: Literal["http"] = "http"
    url: Annotated[str, Field(max_length=MAX_URL_LENGTH, examples=["https://example.org/"])]
    method: Literal["GET", "HEAD", "POST", "PUT", "OPTIONS"] = "GET"
    headers: dict[str, HeaderValue] = Field(default_factory=dict, max_length=32)
    expected_status: list[StatusCode] = Field(default_factory=list, max_length=32)
    """Those that are a success; empty: everything below 400."""
    body_contains: Text | None = None
    """Text that the first mebibyte of the answer's body must contain."""
    certificate_days: Annotated[int, Field(ge=0, le=365)] = 14
    """A certificate that is valid for fewer days than this is a warning."""

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
                raise ValueError("not the name of a header")
            if name.lower() in _UNSUITABLE_HEADERS:
                raise ValueError(f"{name} is for the connection, which is the probe's own")
        if len({name.lower() for name in headers}) < len(headers):
            raise ValueError("a header stands there twice")
        return headers

    @model_validator(mode="after")
    def _with_a_body(self) -> Self:
        if self.method == "HEAD" and self.body_contains is not None:
            raise ValueError("the answer to HEAD has no body that could contain anything")
        return self

    @property
    def address(self) -> str:
        """What is probed, as a URL."""
        return self.url

    def masked(self) -> "HttpSpec":
        """The same without the values of its headers."""
        return self.model_copy(update={"headers": dict.fromkeys(self.headers, MASK)})


class TcpSpec(_Spec):
    """A TCP connection, opened and closed."""

    kind: Literal["tcp"] = "tcp"
    host: Host
    port: Annotated[int, Field(ge=1, le=65535)]

    @property
    def address(self) -> str:
        """What is probed, as a URL."""
        return f"tcp://{_bracketed(self.host)}:{self.port}"


class DnsSpec(_Spec):
    """A question to the resolver of the platform's host."""

    kind: Literal["dns"] = "dns"
    name: Name
    record: Literal["A", "AAAA", "CAA", "CNAME", "MX", "NS", "SOA", "SRV", "TXT"] = "A"
    expected: list[Text] = Field(default_factory=list, max_length=32)
    """Values that must be among the answers, as a zone file writes them; empty: any answer."""

    @model_validator(mode="after")
    def _valid_values(self) -> Self:
        for value in self.expected:
            zone.parse(self.record, value)
        return self

    @property
    def address(self) -> str:
        """What is probed, as a URL (RFC 4501)."""
        return f"dns:{self.name}?type={self.record}"


class PingSpec(_Spec):
    """An ICMP echo request."""

    kind: Literal["ping"] = "ping"
    host: Host

    @property
    def address(self) -> str:
        """What is probed; there is no registered scheme for it."""
        return f"ping:{_bracketed(self.host)}"


Spec = Annotated[HttpSpec | TcpSpec | DnsSpec | PingSpec, Field(discriminator="kind")]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
