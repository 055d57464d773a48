"""Which addresses this host has a route to, without a packet."""

import socket

_ANYWHERE = "2000::1"
"""An address of the public Internet; nothing is sent to it."""


def has_route(address: str) -> bool:
    """Whether this host has an address from which it could send to `address` (an IP address)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as udp:
            udp.connect((address, 9))
    except OSError:
        return False
    return True


def has_ipv6() -> bool:
    """Whether this host has a route to the IPv6 Internet."""
    return has_route(_ANYWHERE)
