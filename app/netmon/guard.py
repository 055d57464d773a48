"""The guard against server-side request forgery: which addresses a probe may connect to.

It checks the address of the connection, not the host name: a name may resolve to another address a moment later, and a
target may redirect anywhere.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Self

from netmon.hostnames import literal_address
from netmon.outbound import OutboundProxy
from netmon.specs import BaseSpec, normal_host

# Special-purpose addresses (IANA registries, RFC 6890) that do not identify a single host on the public Internet. The
# list is explicit because the answers of `ipaddress` differ between versions of Python.
_NOT_PUBLIC_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this host, this network
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT
            "127.0.0.0/8",
            "169.254.0.0/16",  # link-local; metadata services of cloud providers
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
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
    """The guard refuses an address; the message does not reveal which one a name resolved to."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Permits connections to public addresses and to exceptions."""

    private: bool = False
    """Whether all addresses are permitted."""
    excepted: frozenset[tuple[str, int]] = frozenset()
    """Hosts and ports that are permitted at any address."""
    proxy: OutboundProxy | None = None
    """The proxy of HTTP targets, which is permitted at any address."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ALLOW_PRIVATE_TARGETS: `true`, `false`, or a comma-separated list of `host:port`.

        Raises:
            ValueError: `text` is none of these.
        """
        if text in ("true", "false"):
            return cls(private=text == "true")
        return cls(excepted=frozenset(_endpoint(part) for part in text.split(",")))

    def permits(self, address: str, host: str, port: int | None) -> bool:
        """Whether a connection to the IP address `address`, which `host` resolved to, is permitted.

        `port` is None for protocols without ports.

        Raises:
            ValueError: `address` is not an IP address.
        """
        return self.private or (port is not None and (host, port) in self.excepted) or is_public(address)

    def proxy_to(self, host: str) -> OutboundProxy | None:
        """The proxy for HTTP requests to a host; None if it is connected to directly.

        Private addresses and names without a dot are: the proxy would request addresses that this guard cannot check.
        """
        name = host.rstrip(".").lower()
        address = literal_address(name)
        is_local = "." not in name if address is None else not is_public(address)
        return None if self.proxy is None or is_local or self.proxy.excepts(address or name) else self.proxy

    def refuses(self, spec: BaseSpec) -> str | None:
        """The reason why `spec` is refused, as far as it is known without resolving a name; None if there is none."""
        if spec.endpoint is None:
            return None
        host, port = spec.endpoint
        try:
            permitted = self.permits(host, host, port)
        except ValueError:
            return None  # a name, which is checked when it is resolved
        return None if permitted else f"{host} is not a public address, and ALLOW_PRIVATE_TARGETS does not allow it"


def is_public(address: str) -> bool:
    """Whether `address` identifies a single host on the public Internet.

    An IPv6 address that embeds an IPv4 address (mapped, 6to4, NAT64) is as public as the IPv4 address.

    Raises:
        ValueError: `address` is not an IP address.
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
