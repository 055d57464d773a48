"""The HTTP proxy that all HTTP targets are probed through where a proxy is the only way out."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Self

from netmon.hostnames import to_ascii
from netmon.secret_values import secret_name, valid_reference
from netmon.url_targets import InvalidTargetError, WebUrl, parse_target


def proxy_url(text: str) -> WebUrl:
    """The URL of an HTTP proxy.

    Raises:
        ValueError: `text` is none, or has credentials.
    """
    try:
        url = WebUrl.parse(parse_target(text).url)
    except InvalidTargetError as error:
        raise ValueError(str(error)) from None
    if url.scheme != "http" or url.target != "/":
        raise ValueError("a proxy is http://host:port, without a path")
    return url


@dataclass(frozen=True, slots=True)
class OutboundProxy:
    """The proxy of all HTTP targets that name none of their own.

    Attributes:
        host: its name or address, which needs no permission of the guard.
        port: its port.
        login: a reference to the secret `user:password`; None if it requires none.
        names: domains that are connected to directly, with all names below them.
        networks: addresses that are connected to directly.
    """

    host: str
    port: int
    login: str | None = None
    names: frozenset[str] = frozenset()
    networks: Sequence[IPv4Network | IPv6Network] = ()

    @classmethod
    def parse(cls, url: str, login: str = "", exceptions: str = "") -> Self:
        """Parse the settings of the proxy.

        Raises:
            ValueError: one of them is not valid; the message contains none of them.
        """
        found = proxy_url(url)
        names, networks = parse_exceptions(exceptions)
        return cls(found.host, found.port, parse_login(login), names, networks)

    def excepts(self, host: str) -> bool:
        """Whether a host, a name in lower case or an IP address, is connected to directly."""
        try:
            address = ip_address(host)
        except ValueError:
            return host in self.names or any(host.endswith(f".{name}") for name in self.names)
        return any(address in network for network in self.networks)


def parse_login(text: str) -> str | None:
    """A reference to a secret; None for an empty text.

    Raises:
        ValueError: `text` is something else, such as a password.
    """
    if not text:
        return None
    if secret_name(text) is None:
        raise ValueError("not a reference to a secret")
    return valid_reference(text)


def parse_exceptions(text: str) -> tuple[frozenset[str], tuple[IPv4Network | IPv6Network, ...]]:
    """The names and the networks in a comma-separated list.

    Raises:
        ValueError: a part is neither.
    """
    names: set[str] = set()
    networks: list[IPv4Network | IPv6Network] = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        try:
            networks.append(ip_network(part))
        except ValueError:
            if "/" in part:  # a network with bits of a host
                raise
            names.add(to_ascii(part.removeprefix(".")))
    return frozenset(names), tuple(networks)
