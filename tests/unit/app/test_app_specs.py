"""Specs: encoding, canonical forms, validation."""

import string
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from netmon.specs import MASK, DnsSpec, HttpSpec, PingSpec, Spec, TcpSpec, normal_host
from tests.unit.app.properties import PROPERTY

SPEC: TypeAdapter[Any] = TypeAdapter(Spec)
LETTERS, DIGITS = string.ascii_letters, string.digits
LABEL = st.builds(
    "{}{}{}".format,
    st.sampled_from(LETTERS),
    st.text(LETTERS + DIGITS + "-", max_size=20),
    st.sampled_from(LETTERS + DIGITS),
) | st.sampled_from(LETTERS)
NAMES = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
ADDRESSES = st.ip_addresses()
HOSTS = NAMES | ADDRESSES.map(str)
TOKENS = st.text(LETTERS + DIGITS + "-", min_size=1, max_size=20).map("X-{}".format)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=50)


def with_port(address: IPv4Address | IPv6Address, port: int) -> str:
    """A name server with a port."""
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


http = st.fixed_dictionaries(
    {
        "kind": st.just("http"),
        "url": st.builds("http://{}:{}/{}".format, NAMES, st.integers(1, 65535), LABEL),
        "method": st.sampled_from(["GET", "POST", "PUT", "OPTIONS"]),
        "headers": st.dictionaries(TOKENS.map(str.title), VALUES, max_size=5),
        "expected_status": st.lists(st.integers(100, 599), max_size=5),
        "body_contains": st.none()
        | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=50),
        "certificate_days": st.integers(0, 365),
    }
)
tcp = st.fixed_dictionaries({"kind": st.just("tcp"), "host": HOSTS, "port": st.integers(1, 65535)})
ping = st.fixed_dictionaries({"kind": st.just("ping"), "host": HOSTS})
dns = st.fixed_dictionaries(
    {
        "kind": st.just("dns"),
        "name": NAMES,
        "record": st.just("A"),
        "expected": st.lists(st.ip_addresses(v=4).map(str), min_size=1, max_size=3),
        "match": st.sampled_from(["contains", "equals"]),
        "resolver": st.none() | ADDRESSES.map(str) | st.builds(with_port, ADDRESSES, st.integers(1, 65535)),
    }
)


@PROPERTY
@given(http | tcp | ping | dns)
def test_a_spec_is_equal_after_encoding_and_decoding(described: dict[str, Any]) -> None:
    spec = SPEC.validate_python(described)
    assert SPEC.validate_json(SPEC.dump_json(spec)) == spec
    assert SPEC.validate_python(spec.model_dump()).address == spec.address


@PROPERTY
@given(NAMES)
def test_host_names_have_one_canonical_form(name: str) -> None:
    normal = normal_host(name)
    assert normal == normal_host(normal) == normal_host(name.upper()) == normal_host(f" {name}. ")
    assert normal == normal.lower()


@PROPERTY
@given(ADDRESSES)
def test_ip_addresses_have_one_canonical_form(address: IPv4Address | IPv6Address) -> None:
    assert normal_host(str(address)) == normal_host(f"[{address}]") == str(address)
    if isinstance(address, IPv6Address):
        assert normal_host(address.exploded.upper()) == str(address)


@PROPERTY
@given(st.text(max_size=80))
def test_any_text_is_a_harmless_host_or_rejected(text: str) -> None:
    try:
        host = TcpSpec(host=text, port=1).host
    except ValidationError:
        return
    assert host
    assert host.isascii()
    assert not set(host) & set("/?#@[]\\ \x00\r\n")
    assert len(host) <= 253


@PROPERTY
@given(st.text(max_size=20), st.text(max_size=20))
def test_any_header_is_harmless_or_rejected(name: str, value: str) -> None:
    try:
        HttpSpec(url="http://a/", headers={name: value})
    except ValidationError:
        return
    assert name.isascii()
    assert not set(name) & set(" :\r\n\t\x00")
    assert not set(value) & set("\r\n\x00")


@pytest.mark.parametrize(
    "headers",
    [
        {"Transfer-Encoding": "chunked"},
        {"content-length": "5"},
        {"Connection": "close"},
        {"X-A": "1", "x-a": "2"},
        {"X A": "1"},
        {"X-A": "1\r\nX-B: 2"},
        {"X-A": "1\n"},
        {"X-A\n": "1"},
        {"X-A": "ü"},
        {"": "1"},
    ],
)
def test_invalid_headers_are_rejected(headers: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        HttpSpec(url="http://a/", headers=headers)


@PROPERTY
@given(st.dictionaries(TOKENS.map(str.title), VALUES, max_size=5))
def test_the_values_of_headers_are_masked(headers: dict[str, str]) -> None:
    spec = HttpSpec(url="http://a/", headers=headers)
    assert spec.masked().headers == dict.fromkeys(headers, MASK)
    assert spec.headers == headers


@pytest.mark.parametrize(
    "described",
    [
        {"kind": "http", "url": "http://a/", "method": "HEAD", "body_contains": "x"},
        {"kind": "http", "url": "http://a/", "method": "TRACE"},
        {"kind": "http", "url": "http://a/", "expected_status": [99]},
        {"kind": "tcp", "host": "a", "port": 0},
        {"kind": "tcp", "host": "a/b", "port": 1},
        {"kind": "ping", "host": "a\x00b"},
        {"kind": "ping", "host": ""},
        {"kind": "ping", "host": "-a"},
        {"kind": "dns", "name": "a", "record": "ANY"},
        {"kind": "dns", "name": "a", "expected": ["not an address"]},
        {"kind": "dns", "name": "a", "record": "MX", "expected": ["mail"]},
        {"kind": "dns", "name": "a", "record": "MX", "expected": ["99999999999999999999 mail."]},
        {"kind": "dns", "name": "a", "record": "TXT", "expected": ['"never closed']},
        {"kind": "dns", "name": "a", "more": 1},
        {"kind": "dns", "name": "a", "match": "equals"},
        {"kind": "dns", "name": "a", "match": "exactly"},
        *(
            {"kind": "dns", "name": "a", "resolver": resolver}
            for resolver in (
                "",
                "dns.example",
                "192.0.2.1:",
                "192.0.2.1:0",
                "192.0.2.1:65536",
                "192.0.2.1:5:5",
                "[192.0.2.1",
                "[2001:db8::1]5",
                "fe80::1%eth0",
                "\u0661.1.1.1",
            )
        ),
        {"kind": "other"},
    ],
)
def test_invalid_specs_are_rejected(described: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SPEC.validate_python(described)


def test_the_addresses_of_specs_are_urls() -> None:
    assert TcpSpec(host="::1", port=80).address == "tcp://[::1]:80"
    assert PingSpec(host="Example.org.").address == "ping:example.org"
    assert DnsSpec(name="bücher.example", record="MX").address == "dns:xn--bcher-kva.example?type=MX"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://a/", "http://a/"),
        ("http://a/p?x=1&y=2&z=", f"http://a/p?x={MASK}&y={MASK}&z={MASK}"),
        ("http://a/?a-token", f"http://a/?{MASK}"),
        ("http://a/?a=b=c&token", f"http://a/?a={MASK}&{MASK}"),
    ],
)
def test_public_address_has_no_values_of_a_query(url: str, address: str) -> None:
    assert HttpSpec(url=url).public_address == address
    assert TcpSpec(host="a", port=1).public_address == "tcp://a:1"


@PROPERTY
@given(ADDRESSES, st.integers(1, 65535))
def test_a_resolver_is_an_endpoint_and_has_one_canonical_form(address: IPv4Address | IPv6Address, port: int) -> None:
    spec = DnsSpec(name="a.example", resolver=f" {with_port(address, port)} ")
    assert spec.endpoint == (str(address), port)
    assert spec.resolver == (str(address) if port == 53 else with_port(address, port))
    assert DnsSpec(name="a.example", resolver=spec.resolver) == spec
    assert spec.address.startswith("dns://")


def test_the_former_release_can_read_a_dns_spec_that_uses_nothing_new() -> None:
    assert DnsSpec(name="a.example").model_dump() == {"kind": "dns", "name": "a.example", "record": "A", "expected": []}
