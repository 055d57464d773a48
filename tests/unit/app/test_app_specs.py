"""Specs: encoding, canonical forms, validation."""

import string
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from netmon.secret_values import MASK
from netmon.specs import DnsSpec, HttpSpec, PingSpec, Spec, TcpSpec, normal_host
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
        "method": st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
        "headers": st.dictionaries(TOKENS.map(str.title), VALUES, max_size=5),
        "expected_status": st.lists(st.integers(100, 599) | st.sampled_from(["2xx", "200-204"]), max_size=5),
        "body_contains": st.none()
        | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=50),
        "certificate_days": st.integers(0, 365),
    },
    optional={
        "expected_headers": st.lists(st.sampled_from(["X", "X == 1", "X contains a", "X matches ^a"]), max_size=3),
        "body_excludes": st.text(string.printable, min_size=1, max_size=50),
        "body_matches": st.sampled_from([".", "^a+$"]),
        "expected_json": st.lists(st.sampled_from(["$", "$.a == 1", '$.a[*] != "b"']), max_size=3),
        "min_body_bytes": st.integers(1, 100),
        "max_body_bytes": st.integers(100, 1024 * 1024),
        "slow_phases_ms": st.dictionaries(st.sampled_from(["tls", "first_byte"]), st.floats(1, 60_000)),
        "expected_protocol": st.sampled_from(["HTTP/1.0", "HTTP/1.1", "HTTP/2"]),
        "max_redirects": st.integers(0, 20),
        "bearer_token": st.just("secret:token"),
        "verify_tls": st.booleans(),
        "ip_version": st.sampled_from([None, 4, 6]),
    },
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


FORMER = {"kind", "url", "method", "headers", "expected_status", "body_contains", "certificate_days"}


def test_the_former_release_can_read_what_uses_nothing_new() -> None:
    described = {"kind": "http", "url": "http://a/", "expected_status": ["200-200", "404"], "body_contains": "x"}
    stored = SPEC.validate_python(described).model_dump(mode="json")
    assert stored.keys() == FORMER
    assert stored["expected_status"] == [200, 404]


PEM = trustme.CA().cert_pem.bytes().decode()
HTTPS: dict[str, Any] = {"url": "https://a/"}
LONG = "a" * 1024 * 1024

REFUSED: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"method": "TRACE"}, "method", "Input should be"),
    ({"method": "POST", "body": LONG}, "body", "at most 16384 characters"),
    ({"method": "POST", "body": "a\0"}, "body", "should match pattern"),
    ({"method": "POST", "body": 1}, "body", "valid string"),
    ({"method": "POST", "body": "secret:../a"}, "body", "name of a file"),
    ({"method": "GET", "body": "a"}, "body", "a GET request has no body: use POST, PUT, PATCH or DELETE"),
    ({"content_type": "text/plain"}, "content_type", "there is no body"),
    ({"method": "POST", "body": "a", "content_type": "a\r\nb: c"}, "content_type", "should match pattern"),
    (
        {"method": "POST", "body": "a", "content_type": "a/b", "headers": {"content-type": "a/c"}},
        "content_type", "exclude each other",
    ),
    ({"username": "a"}, "password", "missing"),
    ({"password": "a"}, "username", "missing"),
    ({"username": "a:b", "password": "c"}, "username", "no colon"),
    ({"username": "a\n", "password": "c"}, "username", "should match pattern"),
    ({"username": "a", "password": "c\x7f"}, "password", "should match pattern"),
    ({"username": "a", "password": "b", "headers": {"Authorization": "c"}}, "username", "exclude each other"),
    ({"bearer_token": "a", "headers": {"authorization": "c"}}, "bearer_token", "exclude each other"),
    ({"bearer_token": "a", "username": "b", "password": "c"}, "bearer_token", "exclude each other"),
    ({"bearer_token": ""}, "bearer_token", "should match pattern"),
    ({"bearer_token": "a b"}, "bearer_token", "should match pattern"),
    ({"bearer_token": "secret:"}, "bearer_token", "name of a file"),
    ({**HTTPS, "ca_certificate": "abc"}, "ca_certificate", "must be certificates in PEM"),
    ({**HTTPS, "ca_certificate": PEM.replace("MI", "XX")}, "ca_certificate", "must be certificates in PEM"),
    ({**HTTPS, "ca_certificate": PEM * 100}, "ca_certificate", "at most 16384 characters"),
    ({**HTTPS, "ca_certificate": PEM, "verify_tls": False}, "ca_certificate", "exclude each other"),
    ({**HTTPS, "client_certificate": PEM}, "client_certificate", "its private key"),
    ({"client_certificate": "secret:a"}, "client_certificate", "requires a URL with https"),
    ({"verify_tls": "perhaps"}, "verify_tls", "valid boolean"),
    ({"ip_version": 5}, "ip_version", "Input should be 4 or 6"),
    ({"ip_version": 6, "url": "http://192.0.2.1/"}, "ip_version", "192.0.2.1 is an address of IPv4"),
    ({"ip_version": 4, "connect_to": "[2001:db8::1]:80"}, "ip_version", "is an address of IPv6"),
    ({"connect_to": "a", "proxy": "http://b:1"}, "proxy", "exclude each other"),
    ({"expected_status": [600]}, "expected_status/0", "not a status from 100 to 599"),
    ({"expected_status": [200, "2x"]}, "expected_status/1", "not a status from 100 to 599"),
    ({"expected_status": ["300-200"]}, "expected_status/0", "write 200-300"),
    ({"expected_status": 200}, "expected_status", "valid list"),
    ({"expected_headers": ["A: b"]}, "expected_headers/0", "must be the name of a header"),
    ({"expected_headers": ["A", "A matches ("]}, "expected_headers/1", "not a regular expression of RE2: missing )"),
    ({"expected_headers": ["A == b\x01"]}, "expected_headers/0", "should match pattern"),
    ({"expected_headers": ["A"] * 11}, "expected_headers", "at most 10"),
    ({"body_matches": "(?=a)"}, "body_matches", "not a regular expression of RE2"),
    ({"body_matches": "a{1000}{1000}"}, "body_matches", "not a regular expression of RE2"),
    ({"body_matches": ".{200}"}, "body_matches", "too large a regular expression"),
    ({"body_matches": LONG}, "body_matches", "at most 1024 characters"),
    ({"body_excludes": ""}, "body_excludes", "at least 1 character"),
    ({"body_excludes": "\0"}, "body_excludes", "should match pattern"),
    ({"expected_json": ["status"]}, "expected_json/0", "not a JSON path"),
    ({"expected_json": ["$..a"]}, "expected_json/0", "descendants"),
    ({"expected_json": ["$.a == b"]}, "expected_json/0", "in double quotes"),
    ({"expected_json": "$.a"}, "expected_json", "valid list"),
    ({"min_body_bytes": 0}, "min_body_bytes", "greater than or equal to 1"),
    ({"max_body_bytes": 1024 * 1024 + 1}, "max_body_bytes", "less than or equal to 1048576"),
    ({"min_body_bytes": 3, "max_body_bytes": 2}, "max_body_bytes", "must not be less than min_body_bytes (3)"),
    ({"slow_phases_ms": {"dns": 1}}, "slow_phases_ms/dns/[key]", "Input should be"),
    ({"slow_phases_ms": {"tls": 0}}, "slow_phases_ms/tls", "greater than 0"),
    ({"expected_protocol": "HTTP/3"}, "expected_protocol", "Input should be"),
    ({"max_redirects": 21}, "max_redirects", "less than or equal to 20"),
    ({"max_redirects": 1, "follow_redirects": False}, "max_redirects", "exclude each other"),
    ({"max_redirects": 1, "expected_status": ["3xx"]}, "max_redirects", "exclude each other"),
    ({"expected_url": "b"}, "expected_url", "must start with http"),
    ({"expected_url": "http://b/", "follow_redirects": False}, "expected_url", "exclude each other"),
    *(
        ({"method": "HEAD", name: value}, name, f"a HEAD response has no body: remove {name} or use GET")
        for name, value in {
            "body_contains": "a", "body_excludes": "a", "body_matches": "a", "expected_json": ["$"],
            "min_body_bytes": 1, "max_body_bytes": 1,
        }.items()
    ),
)  # fmt: skip


@pytest.mark.parametrize(("settings", "field", "reason"), REFUSED, ids=lambda each: str(each)[:50])
def test_a_bad_setting_is_refused_at_its_field(settings: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(ValidationError) as refused:
        SPEC.validate_python({"kind": "http", "url": "http://a/", **settings})
    [error] = refused.value.errors()
    assert "/".join(map(str, error["loc"])) == f"http/{field}"
    assert reason in error["msg"]


@pytest.mark.parametrize("name", ["password", "bearer_token", "client_certificate"])
def test_credentials_are_masked_and_references_are_shown(name: str) -> None:
    others: dict[str, Any] = {**HTTPS, **({"username": "a"} if name == "password" else {})}
    identity = trustme.CA().issue_cert("a").private_key_and_cert_chain_pem.bytes().decode()
    value = identity if name == "client_certificate" else "a-value"
    masked = HttpSpec.model_validate({**others, name: value}).masked()
    assert value not in masked.model_dump_json()
    assert getattr(masked, name) == MASK
    assert SPEC.validate_python(masked.model_dump()) == masked, "it can be sent back"
    assert getattr(HttpSpec.model_validate({**others, name: "secret:a"}).masked(), name) == "secret:a"


TRUSTING: tuple[dict[str, Any], ...] = (
    {"kind": "http", **HTTPS},
    {"kind": "tls", "host": "a"},
    {"kind": "tcp", "host": "a", "port": 636, "tls": True},
    {"kind": "tcp", "host": "a", "port": 25, "starttls": "smtp"},
    {"kind": "grpc", "host": "a", "port": 443},
)
"""A spec of each kind of connection with TLS."""


@pytest.mark.parametrize("described", TRUSTING, ids=str)
def test_verification_that_is_off_is_a_caution(described: dict[str, Any]) -> None:
    assert SPEC.validate_python(described).cautions == []
    [caution] = SPEC.validate_python({**described, "verify_tls": False}).cautions
    assert caution.startswith("certificates are not verified")


@pytest.mark.parametrize("described", TRUSTING, ids=str)
def test_trust_that_is_not_set_is_not_stored(described: dict[str, Any]) -> None:
    stored = SPEC.validate_python(described).model_dump_json()
    assert not any(name in stored for name in ("ca_certificate", "verify_tls")), "the former release refuses them"


@pytest.mark.parametrize("described", TRUSTING, ids=str)
def test_authorities_without_verification_are_refused(described: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        SPEC.validate_python({**described, "ca_certificate": PEM, "verify_tls": False})
    [error] = refused.value.errors()
    assert error["loc"] == (described["kind"], "ca_certificate")
    assert "exclude each other" in error["msg"]


@pytest.mark.parametrize("setting", [{"ca_certificate": PEM}, {"verify_tls": False}], ids=lambda each: next(iter(each)))
@pytest.mark.parametrize("described", [{"kind": "tcp"}, {"kind": "grpc", "tls": False}], ids=str)
def test_trust_without_tls_is_refused(described: dict[str, Any], setting: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        SPEC.validate_python({"host": "a", "port": 1, **described, **setting})
    [error] = refused.value.errors()
    assert error["loc"] == (described["kind"], *setting)
    assert "TLS: set tls" in error["msg"]


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
