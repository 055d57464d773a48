"""Specs of the kinds that probe names and hosts: DNS and ping."""

import re
from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from netmon import zone
from netmon.http_checks import Text
from netmon.spec_parts import BaseSpec, Endpoint, Host, Name, bracketed, is_default

DNS_PORT = 53

_RESOLVER = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<v4>[^:]+)|(?P<bare>.+?))(?(bare)|(?::(?P<port>[0-9]{1,5}))?)")


def _resolver(text: str | None) -> str | None:
    """The canonical form: without the port if it is that of DNS."""
    if text is None:
        return None
    address, port = _resolver_endpoint(text)
    return address if port == DNS_PORT else f"{bracketed(address)}:{port}"


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


class DnsSpec(BaseSpec):
    """A query to the name servers of the platform's host, or to one of choice."""

    kind: Literal["dns"] = "dns"
    name: Name
    record: Literal["A", "AAAA", "CAA", "CNAME", "MX", "NS", "SOA", "SRV", "TXT"] = "A"
    expected: list[Text] = Field(default_factory=list, max_length=32)
    """Values that must be among the answers, in the syntax of zone files; empty: any answer."""
    match: Annotated[Literal["contains", "equals"], Field(exclude_if=is_default("contains"))] = "contains"
    """Whether the answers contain the expected values, or are these and no others."""
    resolver: Annotated[
        str | None,
        Field(max_length=60, examples=["192.0.2.53", "[2001:db8::53]:5353"], exclude_if=is_default(None)),
        AfterValidator(_resolver),
    ] = None
    """The name server that is asked, an IP address with an optional port; null: those of the platform's host."""

    minimum_ttl: Annotated[int, Field(ge=0, le=604_800, exclude_if=is_default(0))] = 0
    """Seconds for which the answers must be valid at least."""
    dnssec: Annotated[Literal["ignored", "required"], Field(exclude_if=is_default("ignored"))] = "ignored"
    """Whether the name server must have verified the signatures of the answers (the AD bit)."""

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
        server = bracketed(address) + (f":{port}" if port != DNS_PORT else "")
        return f"dns://{server}/{self.name}?type={self.record}"

    @property
    def endpoint(self) -> Endpoint | None:
        """The name server of the spec. The prober checks the addresses in the answer."""
        return _resolver_endpoint(self.resolver) if self.resolver else None


class PingSpec(BaseSpec):
    """ICMP echo requests."""

    kind: Literal["ping"] = "ping"
    host: Host
    packets: Annotated[int, Field(ge=1, le=20, exclude_if=is_default(1))] = 1
    """The number of requests."""
    maximum_loss_percent: Annotated[float, Field(ge=0, le=99, exclude_if=is_default(0))] = 0
    """Percentage of the requests that may stay without a reply."""
    maximum_jitter_ms: Annotated[
        Annotated[float, Field(gt=0, le=60_000)] | None, Field(exclude_if=is_default(None))
    ] = None
    """Milliseconds by which the times of consecutive replies may differ on average; null: any."""

    @field_validator("maximum_jitter_ms")
    @classmethod
    def _comparable(cls, jitter: float | None, info: ValidationInfo) -> float | None:
        if jitter is not None and info.data.get("packets") == 1:
            raise ValueError("jitter needs at least two packets")
        return jitter

    @property
    def address(self) -> str:
        """The host; there is no registered URL scheme for pings."""
        return f"ping:{bracketed(self.host)}"

    @property
    def endpoint(self) -> Endpoint:
        """The host; ICMP has no ports."""
        return Endpoint(self.host, None)
