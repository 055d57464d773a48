"""The settings of HTTP targets for the request: its content, and its credentials."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, field_validator

from netmon.secret_values import MASK, masked, secret_name, valid_reference, with_masks
from netmon.spec_parts import Conflict, not_set
from netmon.trust import Identity, TrustSettings
from netmon.url_targets import MAX_URL_LENGTH, InvalidTargetError, parse_target

MAX_REQUEST_BODY = 16 * 1024
"""Characters of a body to send."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", re.ASCII)
_UNSUITABLE_HEADERS = frozenset(
    {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_WITH_BODY = ("POST", "PUT", "PATCH", "DELETE")


def _token(value: str | None) -> str | None:
    return value if value is None else valid_reference(value)


HeaderValue = Annotated[
    str,
    StringConstraints(max_length=4096, pattern=rf"^([\t\x20-\x7e]*|{MASK})$"),
    AfterValidator(valid_reference),
]
Credential = Annotated[
    str,
    StringConstraints(max_length=1024, pattern=r"^[^\x00-\x1f\x7f]*$"),
    AfterValidator(valid_reference),
]
"""A part of an authentication: one line without control characters."""


class HttpRequest(TrustSettings):
    """The text to send."""

    kind: Literal["http"] = "http"
    url: Annotated[str, Field(max_length=MAX_URL_LENGTH, examples=["https://example.org/"])]
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = "GET"
    headers: dict[str, HeaderValue] = Field(default_factory=dict, max_length=32)
    body: Annotated[
        str | None,
        Field(
            max_length=MAX_REQUEST_BODY, pattern=r"^[^\x00]*$", exclude_if=not_set, examples=['{"query": "{ health }"}']
        ),
    ] = None
    """The body of the request; shown to everyone who reads the target, unless it is a reference to a secret."""
    content_type: Annotated[
        str | None,
        Field(
            max_length=256, pattern=r"^[\x21-\x7e][\t\x20-\x7e]*$", exclude_if=not_set, examples=["application/json"]
        ),
    ] = None
    """The media type of the body; none is sent if it is not given."""
    username: Annotated[Credential | None, Field(exclude_if=not_set)] = None
    """The user of basic authentication."""
    password: Annotated[Credential | None, Field(exclude_if=not_set)] = None
    bearer_token: Annotated[
        Annotated[str, StringConstraints(max_length=4096, pattern=rf"^([\x21-\x7e]+|{MASK})$")] | None,
        AfterValidator(_token),
        Field(exclude_if=not_set),
    ] = None
    """The token of bearer authentication."""
    client_certificate: Annotated[Identity | None, Field(exclude_if=not_set)] = None
    """A certificate and its key in PEM, with which the probe authenticates itself to the origin of the URL."""
    ip_version: Annotated[Literal[4, 6] | None, Field(exclude_if=not_set)] = None
    """The version of IP that connections use; null: any."""

    @field_validator("url")
    @classmethod
    def _valid_url(cls, url: str) -> str:
        try:
            return with_masks(parse_target(url).url)
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

    @field_validator("body")
    @classmethod
    def _valid_body(cls, body: str | None) -> str | None:
        return body if body is None else valid_reference(body)

    @property
    def credentials(self) -> dict[str, str]:
        """The settings that may be credentials, besides headers, by name."""
        names = ("password", "bearer_token", "client_certificate")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def masked_credentials(self) -> dict[str, object]:
        """The settings that may be credentials, masked."""
        found: dict[str, object] = {name: masked(value) for name, value in self.credentials.items()}
        return {**found, "headers": {name: masked(value) for name, value in self.headers.items()}}

    def request_conflicts(self) -> Iterator[Conflict]:
        """Settings of the request that exclude each other, or lack another one."""
        names = {name.lower() for name in self.headers}
        if self.body is not None and self.method not in _WITH_BODY:
            yield "body", f"a {self.method} request has no body: use {', '.join(_WITH_BODY[:-1])} or {_WITH_BODY[-1]}"
        if self.content_type is not None and self.body is None:
            yield "content_type", "there is no body to which it applies"
        if self.content_type is not None and "content-type" in names:
            yield "content_type", "content_type and the header Content-Type exclude each other"
        yield from self._authentication_conflicts("authorization" in names)
        yield from self.trust_conflicts()
        if self.client_certificate is not None and not self.url.startswith("https:"):
            yield "client_certificate", "a client certificate requires a URL with https"

    def _authentication_conflicts(self, has_header: bool) -> Iterator[Conflict]:
        if self.username is not None and self.password is None:
            yield "password", "missing: basic authentication has a username and a password"
        if self.password is not None and self.username is None:
            yield "username", "missing: basic authentication has a username and a password"
        if self.username is not None and ":" in self.username and secret_name(self.username) is None:
            yield "username", "the username of basic authentication has no colon"
        if self.username is not None and has_header:
            yield "username", "username and the header Authorization exclude each other"
        if self.bearer_token is not None and has_header:
            yield "bearer_token", "bearer_token and the header Authorization exclude each other"
        if self.bearer_token is not None and self.username is not None:
            yield "bearer_token", "bearer_token and username exclude each other"
