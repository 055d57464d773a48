"""Which addresses may be connected to, so that a target is no way into the network that the platform stands in.

What counts is the address that is connected to, not the name that led there: a name may resolve to another address a
moment later, and a target may redirect to anywhere.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Self

from yarl import URL

from netmon.specs import HttpSpec, PingSpec, Spec, TcpSpec, normal_host

# Special-purpose addresses (IANA's registries, RFC 6890) that are not, or not only, one host in the Internet. They
# stand here instead of being asked from `ipaddress`, whose answer differs between versions of Python.
_NOT_PUBLIC_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this host, this network
            "10.0.0.0/8",
            "100.64.0.0/10",  # shared by the customers of a provider (CGNAT)
            "127.0.0.0/8",
            "169.254.0.0/16",  # link-local; where clouds keep credentials
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # relays of 6to4
            "192.168.0.0/16",
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
_GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocols, Teredo among them
            "2001:db8::/32",  # documentation
            "3fff::/20",  # documentation
        ),
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")


class RefusedAddressError(Exception):
    """An address that must not be connected to; the message does not tell which one a name led to."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Refuses what is not public, but for exceptions."""

    private: bool = False
    """Whether every address is allowed."""
    excepted: frozenset[tuple[str, int]] = frozenset()
    """Hosts and ports that may be connected to wherever they are."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """A guard as ALLOW_PRIVATE_TARGETS describes it: `true`, `false`, or `host:port` separated by commas.

        Raises:
            ValueError: it is none of these.
        """
        if text in ("true", "false"):
            return cls(private=text == "true")
        return cls(excepted=frozenset(_endpoint(part) for part in text.split(",")))

    def permits(self, address: str, host: str, port: int | None) -> bool:
        """Whether `address` (not a name) may be connected to, which `host` led to; None: there is no port."""
        return self.private or (port is not None and (host, port) in self.excepted) or is_public(address)

    def refuses(self, spec: Spec) -> str | None:
        """Why `spec` can never be probed, known before anything is resolved; None where it may be possible."""
        port = None
        if isinstance(spec, HttpSpec):
            url = URL(spec.url)
            host, port = url.host or "", url.port
        elif isinstance(spec, TcpSpec):
            host, port = spec.host, spec.port
        elif isinstance(spec, PingSpec):
            host = spec.host
        else:
            return None
        try:
            permitted = self.permits(host, host, port)
        except ValueError:
            return None  # a name
        return None if permitted else f"{host} is not a public address, and ALLOW_PRIVATE_TARGETS does not allow it"


def is_public(address: str) -> bool:
    """Whether `address` is that of one host in the Internet.

    One that contains an IPv4 address, to which a host or a gateway on the way translates it, is as public as that.

    Raises:
        ValueError: it is no address.
    """
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address):
        embedded = _embedded(parsed)
        if embedded is None:
            return parsed in _GLOBAL_UNICAST_V6 and not any(parsed in network for network in _NOT_PUBLIC_V6)
        parsed = embedded
    return not any(parsed in network for network in _NOT_PUBLIC_V4)


def _embedded(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _endpoint(text: str) -> tuple[str, int]:
    host, _, port = text.strip().rpartition(":")
    if not port.isascii() or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ValueError("not host:port")
    return normal_host(host), int(port)
