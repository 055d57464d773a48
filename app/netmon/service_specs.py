"""Specs of the kinds that probe services on a port other than HTTP: TCP, TLS and gRPC."""

import re
from base64 import b64decode
from collections.abc import Hashable, Iterator
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, field_validator, model_validator

from netmon import escapes, expressions
from netmon.http_request import HeaderValue
from netmon.secret_values import MASK, masked, secret_name
from netmon.spec_parts import Conflict, Endpoint, Host, Port, bracketed, host_and_port, is_default, refuse
from netmon.trust import TrustSettings

StartTls = Literal["smtp", "imap", "pop3"]
"""Protocols that begin in plain text and change to TLS."""

_METADATA = re.compile(r"[a-z0-9_.-]{1,128}", re.ASCII)
_OWN_METADATA = frozenset(
    {"accept-encoding", "connection", "content-length", "content-type", "host", "te", "transfer-encoding", "user-agent"}
)


def _escaped(text: str | None) -> str | None:
    if text is not None:
        escapes.decode(text)
    return text


EscapedText = Annotated[str, StringConstraints(min_length=1, max_length=1024), AfterValidator(_escaped)]
"""Bytes as text with escapes (`netmon.escapes`)."""


class CertificateChecks(TrustSettings):
    """Who must have issued the certificates of a target, its own and intermediate ones, and for how long."""

    certificate_days: Annotated[int, Field(ge=0, le=365, exclude_if=is_default(14))] = 14
    """The result is a warning if a certificate expires in fewer days."""
    certificate_fail_days: Annotated[int, Field(ge=0, le=365, exclude_if=is_default(0))] = 0
    """The probe fails if a certificate expires in fewer days; 0: once it has expired."""

    @model_validator(mode="after")
    def _without_conflicts(self) -> Self:
        refuse(self, self.trust_conflicts())
        return self


class TcpSpec(CertificateChecks):
    """A TCP connection, on which TLS can be agreed on, something be sent, and an answer be expected."""

    kind: Literal["tcp"] = "tcp"
    host: Host
    port: Port
    tls: Annotated[bool, Field(exclude_if=is_default(False))] = False
    """Whether the connection begins with TLS."""
    starttls: Annotated[StartTls | None, Field(exclude_if=is_default(None))] = None
    """The protocol in which the connection changes to TLS (STARTTLS)."""
    server_name: Annotated[Host | None, Field(exclude_if=is_default(None))] = None
    """The name for TLS; null: the host."""
    send: Annotated[EscapedText | None, Field(exclude_if=is_default(None), examples=["PING\\r\\n"])] = None
    """The text to send, with the escapes \\r, \\n, \\t, \\0, \\xHH and \\\\."""
    expect: Annotated[EscapedText | None, Field(exclude_if=is_default(None), examples=["+PONG"])] = None
    """The text that the first 64 KiB of the answer must contain, with the same escapes."""
    expect_matches: Annotated[
        Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]*$")] | None,
        Field(exclude_if=is_default(None), examples=["^220 .* ESMTP"]),
    ] = None
    """A regular expression (RE2) that some part of the answer must match, instead of a text."""

    @field_validator("expect_matches")
    @classmethod
    def _valid_expression(cls, text: str | None, info: ValidationInfo) -> str | None:
        if text is not None:
            expressions.pattern(text)
            if info.data.get("expect") is not None:
                raise ValueError("expect and expect_matches exclude each other")
        return text

    @field_validator("starttls")
    @classmethod
    def _one_way_to_tls(cls, starttls: StartTls | None, info: ValidationInfo) -> StartTls | None:
        if starttls is not None and info.data.get("tls"):
            raise ValueError("tls and starttls exclude each other: a connection begins with TLS or changes to it")
        return starttls

    @field_validator("server_name")
    @classmethod
    def _name_for_tls(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name is not None and not info.data.get("tls") and info.data.get("starttls") is None:
            raise ValueError("a server name is for TLS: set tls or starttls")
        return name

    def trust_conflicts(self) -> Iterator[Conflict]:
        """Settings of the trust that exclude each other, or lack TLS."""
        yield from super().trust_conflicts()
        if not self.tls and self.starttls is None:
            yield from self.trust_without_tls("set tls or starttls")

    @property
    def address(self) -> str:
        """Host and port as a URL."""
        return f"tcp://{bracketed(self.host)}:{self.port}"

    @property
    def endpoint(self) -> Endpoint:
        """Host and port."""
        return Endpoint(self.host, self.port)


class TlsSpec(CertificateChecks):
    """A TLS handshake, with the verification of the certificates."""

    kind: Literal["tls"] = "tls"
    host: Host
    port: Port = 443
    server_name: Host | None = None
    """The name that is asked for and that the certificate must be for; null: the host."""
    minimum_version: Literal["1.2", "1.3"] = "1.2"
    """The lowest version of TLS that is accepted."""

    @property
    def address(self) -> str:
        """Host and port, with a scheme that is in common use."""
        return f"tls://{bracketed(self.host)}:{self.port}"

    @property
    def endpoint(self) -> Endpoint:
        """Host and port."""
        return Endpoint(self.host, self.port)


class GrpcSpec(CertificateChecks):
    """A call of the standard health check of gRPC, `grpc.health.v1.Health/Check`."""

    kind: Literal["grpc"] = "grpc"
    host: Host
    port: Port
    service: Annotated[
        str, StringConstraints(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$"), Field(examples=["shop.v1.Orders"])
    ] = ""
    """The service whose health is asked for; empty: that of the whole server."""
    tls: bool = True
    """Whether the connection is encrypted."""
    authority: Annotated[str | None, Field(max_length=260, examples=["orders.example.org"])] = None
    """The name, or name:port, in the request and for TLS; null: the host."""
    headers: dict[str, HeaderValue] = Field(default_factory=dict, max_length=32)
    """Metadata that is sent; names are in lower case."""

    @field_validator("authority")
    @classmethod
    def _valid_authority(cls, text: str | None) -> str | None:
        return None if text is None else host_and_port(text)

    @field_validator("headers")
    @classmethod
    def _valid_metadata(cls, headers: dict[str, str]) -> dict[str, str]:
        found = {name.lower(): value for name, value in headers.items()}
        if len(found) < len(headers):
            raise ValueError("duplicate name")
        for name, value in found.items():
            if not _METADATA.fullmatch(name):
                raise ValueError("not a valid name of metadata: letters, digits, '-', '_' and '.'")
            if name in _OWN_METADATA or name.startswith("grpc-"):
                raise ValueError(f"{name} is set by the probe itself")
            if name.endswith("-bin") and value != MASK and secret_name(value) is None:
                _require_base64(name, value)
        return found

    def trust_conflicts(self) -> Iterator[Conflict]:
        """Settings of the trust that exclude each other, or lack TLS."""
        yield from super().trust_conflicts()
        if not self.tls:
            yield from self.trust_without_tls("set tls")

    @property
    def address(self) -> str:
        """Host and port, with the schemes that are in common use."""
        service = f"/{self.service}" if self.service else ""
        return f"{'grpcs' if self.tls else 'grpc'}://{bracketed(self.host)}:{self.port}{service}"

    @property
    def endpoint(self) -> Endpoint:
        """Host and port."""
        return Endpoint(self.host, self.port)

    @property
    def called(self) -> str:
        """The authority of the request: by default host and port."""
        return self.authority or f"{bracketed(self.host)}:{self.port}"

    @property
    def credentials(self) -> dict[str, str]:
        """The settings that may be credentials, besides headers: none."""
        return {}

    @property
    def destination(self) -> Hashable:
        """Who gets the headers."""
        return self.endpoint, self.tls, self.authority

    def masked(self) -> Self:
        """This spec with the values of its metadata masked; a reference to a secret reveals none, and stays."""
        return self.model_copy(update={"headers": {name: masked(value) for name, value in self.headers.items()}})


def _require_base64(name: str, value: str) -> None:
    try:
        b64decode(value + "=" * (-len(value) % 4), validate=True)
    except ValueError:
        raise ValueError(f"the value of {name} must be base64, as its name ends in -bin") from None
