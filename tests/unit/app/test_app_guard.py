"""The guard: any address in any notation, compared with the standard library."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from netmon.guard import Guard, is_public
from netmon.specs import Spec
from tests.unit.app.properties import PROPERTY

V4 = st.ip_addresses(v=4)
V6 = st.ip_addresses(v=6)

STRICTER = tuple(
    map(
        IPv6Network,
        (
            "64:ff9b::/96",  # depends on the embedded IPv4 address
            "64:ff9b:1::/48",
            "2001::/23",  # some of it is global, but no host to be monitored
            "2002::/16",  # depends on the embedded IPv4 address
            "3fff::/20",
            "5f00::/16",
        ),
    )
)
"""Networks for which the versions of the standard library differ or are less strict."""
STRICTER_V4 = tuple(map(IPv4Network, ("192.0.0.0/24", "192.88.99.0/24")))

REFUSED_V4 = [
    "0.0.0.0",  # noqa: S104 - an address, not one to listen on
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
]
REFUSED_V6 = [
    "::",
    "::1",
    "::7f00:1",  # IPv4-compatible, deprecated
    "::ffff:0:7f00:1",  # translated (SIIT)
    "64:ff9b:1::7f00:1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "3fff::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", REFUSED_V4 + REFUSED_V6)
def test_special_purpose_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
        "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "223.255.255.255",
        "2000::1", "2001:200::1", "2606:4700::1111", "2a00::1", "64:ff9b::1.1.1.1", "::ffff:1.1.1.1", "2002:101:101::1",
    ],
)  # fmt: skip
def test_addresses_next_to_special_purpose_ranges_are_public(address: str) -> None:
    assert is_public(address)


@PROPERTY
@given(V4)
def test_ipv4_addresses_agree_with_the_standard_library(address: IPv4Address) -> None:
    assume(not any(address in network for network in STRICTER_V4))
    assert is_public(str(address)) == (address.is_global and not address.is_multicast and not address.is_reserved)


@PROPERTY
@given(V6 | st.integers(0, 2**125 - 1).map(lambda low: IPv6Address((1 << 125) + low)))
@example(IPv6Address("fec0::"))
@example(IPv6Address("feff:ffff::"))
def test_ipv6_addresses_agree_with_the_standard_library(address: IPv6Address) -> None:
    assume(not any(address in network for network in STRICTER) and not address.ipv4_mapped)
    # Site-local addresses (RFC 3879) are private, but global for the standard library.
    special = address.is_multicast or address.is_reserved or address.is_site_local
    assert is_public(str(address)) == (address.is_global and not special)


@PROPERTY
@given(V4 | st.sampled_from(list(map(IPv4Address, REFUSED_V4))), st.integers(0, 2**80 - 1))
@example(IPv4Address("169.254.169.254"), 0)
def test_an_embedded_ipv4_address_determines_the_result(inner: IPv4Address, rest: int) -> None:
    public = is_public(str(inner))
    for outer in (
        (0xFFFF << 32) + int(inner),  # mapped
        (0x64FF9B << 96) + int(inner),  # NAT64
        (0x2002 << 112) + (int(inner) << 80) + rest,  # 6to4
    ):
        assert is_public(str(IPv6Address(outer))) is public


@PROPERTY
@given(V4 | V6, st.integers(1, 65535))
def test_the_setting_permits_any_address_or_the_listed_endpoints(address: IPv4Address | IPv6Address, port: int) -> None:
    text = str(address)
    assert Guard(private=True).permits(text, text, port)
    bracketed = f"[{text}]" if address.version == 6 else text
    excepting = Guard.parse(f"app:3000, {bracketed}:{port}")
    assert excepting.permits(text, text, port)
    assert excepting.permits(text, text, port % 65535 + 1) is is_public(text)
    assert excepting.permits(text, text, None) is is_public(text)
    assert excepting.permits(text, "another", port) is is_public(text)


@PROPERTY
@given(V4 | V6)
def test_a_literal_private_address_is_refused_without_resolution(address: IPv4Address | IPv6Address) -> None:
    host = f"[{address}]" if address.version == 6 else str(address)
    for described in (
        {"kind": "http", "url": f"http://{host}:81/x"},
        {"kind": "tcp", "host": host, "port": 81},
        {"kind": "ping", "host": host},
    ):
        reason = Guard().refuses(spec(described))
        assert (reason is None) is is_public(str(ip_address(str(address))))
        assert reason is None or "ALLOW_PRIVATE_TARGETS" in reason
        assert Guard(private=True).refuses(spec(described)) is None


@pytest.mark.parametrize(
    "described",
    [
        {"kind": "http", "url": "http://db:5432/"},
        {"kind": "tcp", "host": "db", "port": 5432},
        {"kind": "ping", "host": "db"},
        {"kind": "dns", "name": "db"},
    ],
)
def test_a_name_is_not_refused_before_it_is_resolved(described: dict[str, Any]) -> None:
    assert Guard().refuses(spec(described)) is None


@pytest.mark.parametrize("text", ["", "yes", "app", "app:", ":80", "app:0", "app:65536", "app:x", "app:80,", "a b:80"])
def test_an_invalid_setting_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="host"):
        Guard.parse(text)


def spec(described: dict[str, Any]) -> Spec:
    parsed: Spec = TypeAdapter(Spec).validate_python(described)
    return parsed
