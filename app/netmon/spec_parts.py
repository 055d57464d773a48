"""The shared parts of the specs of all kinds."""

import re
from abc import abstractmethod
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from netmon.hostnames import to_ascii


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


def ip_version(host: str) -> int | None:
    """The version of IP of an address; None if it is a name."""
    try:
        return ip_address(host).version
    except ValueError:
        return None


class Endpoint(NamedTuple):
    """A host (name or IP address), and the port on it if the protocol has ports."""

    host: str
    port: int | None


Conflict = tuple[str, str]
"""A setting that does not fit to the others, and the reason."""


def refuse(spec: BaseModel, conflicts: Iterable[Conflict]) -> None:
    """Refuse a spec with conflicts, each at its setting.

    Raises:
        ValidationError: there are conflicts.
    """
    errors = [
        InitErrorDetails(type=PydanticCustomError("conflict", "{reason}", {"reason": reason}), loc=(name,), input=None)
        for name, reason in conflicts
    ]
    if errors:
        raise ValidationError.from_exception_data(type(spec).__name__, errors)


def not_set(value: object) -> bool:
    """Leaves a setting that is not set out of stored specs, so that the former release can read them."""
    return value is None


def is_default(default: object) -> Callable[[object], bool]:
    """Leaves a setting with its default out of stored specs, so that the former release can read them."""
    return lambda value: value == default


Host = Annotated[str, Field(max_length=253, examples=["example.org"]), AfterValidator(normal_host)]
Name = Annotated[str, Field(max_length=253, examples=["example.org"]), AfterValidator(to_ascii)]
Port = Annotated[int, Field(ge=1, le=65535)]


def bracketed(host: str) -> str:
    """A host as part of a URL."""
    return f"[{host}]" if ":" in host else host


class BaseSpec(BaseModel):
    """The common interface of all specs; a kind that lacks one of the abstract members cannot be created."""

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
        """This spec without its credentials, as those who may change it read it."""
        return self

    def for_readers(self) -> Self:
        """This spec without its credentials, and without what else may contain one, as everyone reads it."""
        return self.masked()

    @property
    def has_masked_queries(self) -> bool:
        """Whether values in the queries of its URLs are masked, as in `for_readers`."""
        return False

    def patience_seconds(self, attempts_seconds: float) -> float:
        """By how much a result may follow its interval: as long as all attempts of a probe may take."""
        return attempts_seconds
