"""What the specs of all kinds consist of."""

import re
from abc import abstractmethod
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from netmon.hostnames import to_ascii

MASK = "•••"
"""Returned instead of the values of headers, many of which are credentials."""
SECRET = "secret:"  # noqa: S105 - a prefix
"""A header value with this prefix names a file, whose content the prober sends (`netmon.probing.secrets`)."""

_SECRET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


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


def split_port(text: str) -> tuple[str, int | None]:
    """The host and the port of `host`, `host:port` or `[address]:port`."""
    found = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::(\d{1,5}))?|(.*)", text)
    host, port, other = found.groups() if found else (None, None, text)
    return (host or other or "").strip("[]"), int(port) if port else None


def host_and_port(text: str) -> str:
    """The canonical form of `host` or `host:port`.

    Raises:
        ValueError: `text` is neither.
    """
    host, port = split_port(text.strip())
    if port is not None and not 1 <= port <= 65535:
        raise ValueError("the port must be from 1 to 65535")
    try:
        name = normal_host(host)
    except ValueError:
        raise ValueError("must be host or host:port, an IPv6 address in brackets") from None
    return bracketed(name) + (f":{port}" if port else "")


def is_none(value: object) -> bool:
    """Leaves a setting that is not given out of stored specs, so that the former release can read them."""
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


def is_default(default: object) -> Callable[[object], bool]:
    """Leaves a setting with its default out of stored specs, so that the former release can read them."""
    return lambda value: value == default


Host = Annotated[str, Field(max_length=253, examples=["example.org"]), AfterValidator(normal_host)]
Name = Annotated[str, Field(max_length=253, examples=["example.org"]), AfterValidator(to_ascii)]
HeaderValue = Annotated[
    str,
    StringConstraints(max_length=4096, pattern=rf"^([\t\x20-\x7e]*|{MASK})$"),
    AfterValidator(_valid_reference),
]
Port = Annotated[int, Field(ge=1, le=65535)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00]*$")]
"""Text that PostgreSQL can store: without null characters."""


def bracketed(host: str) -> str:
    """A host as part of a URL."""
    return f"[{host}]" if ":" in host else host


def masked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers with their values masked; a reference to a secret reveals none, and stays."""
    return {name: MASK if secret_name(value) is None else value for name, value in headers.items()}


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
