"""Settings of the kinds tcp, tls, grpc, dns and ping: what is refused, where, and what the former release can read."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, FileSystemLoader
from pydantic import TypeAdapter, ValidationError

from netmon import escapes, page
from netmon.kinds import KINDS
from netmon.models import Probe
from netmon.page.assets import Assets
from netmon.page.routes import _Pages
from netmon.secret_values import MASK
from netmon.specs import DnsSpec, GrpcSpec, PingSpec, Spec, TcpSpec, TlsSpec
from tests.unit.app.properties import PROPERTY

SPEC: TypeAdapter[Any] = TypeAdapter(Spec)
VALID: dict[str, dict[str, Any]] = {
    "tcp": {"kind": "tcp", "host": "a", "port": 1},
    "tls": {"kind": "tls", "host": "a"},
    "grpc": {"kind": "grpc", "host": "a", "port": 1},
    "dns": {"kind": "dns", "name": "a.example"},
    "ping": {"kind": "ping", "host": "a"},
}
INVALID: tuple[tuple[str, dict[str, Any], str, str], ...] = (
    *(
        (kind, {**tls, **settings}, field, reason)
        for kind, tls in (("tcp", {"tls": True}), ("tls", {}), ("grpc", {}))
        for settings, field, reason in (
            ({"ca_certificate": "abc"}, "ca_certificate", "must be certificates in PEM"),
            ({"ca_certificate": 1}, "ca_certificate", "valid string"),
            ({"ca_certificate": "secret:"}, "ca_certificate", "name of a file"),
            ({"ca_certificate": "a" * 16385}, "ca_certificate", "at most 16384 characters"),
            ({"ca_certificate": "a\x00"}, "ca_certificate", "should match pattern"),
            ({"verify_tls": "perhaps"}, "verify_tls", "valid boolean"),
        )
    ),
    ("tcp", {"tls": "perhaps"}, "tls", "valid boolean"),
    ("tcp", {"tls": True, "starttls": "smtp"}, "starttls", "tls and starttls exclude each other"),
    ("tcp", {"starttls": "ftp"}, "starttls", "'smtp', 'imap' or 'pop3'"),
    ("tcp", {"starttls": 1}, "starttls", "'smtp', 'imap' or 'pop3'"),
    ("tcp", {"server_name": "a"}, "server_name", "set tls or starttls"),
    ("tcp", {"tls": True, "server_name": "a b"}, "server_name", "not a valid host name"),
    ("tcp", {"tls": True, "server_name": "a\x00"}, "server_name", "not a valid host name"),
    ("tcp", {"send": ""}, "send", "at least 1 character"),
    ("tcp", {"send": "a" * 1025}, "send", "at most 1024 characters"),
    ("tcp", {"send": "a\r\n"}, "send", r"the character 0x0d must be written as \r"),
    ("tcp", {"send": "\x00"}, "send", "the character 0x00 must be written"),
    ("tcp", {"send": r"\q"}, "send", r"\q is not valid"),
    ("tcp", {"send": "a\\"}, "send", "is not valid"),
    ("tcp", {"send": r"\x0"}, "send", r"\x is not valid"),
    ("tcp", {"send": 5}, "send", "valid string"),
    ("tcp", {"expect": "\x7f"}, "expect", "the character 0x7f must be written"),
    ("tcp", {"expect": ["a"]}, "expect", "valid string"),
    ("tcp", {"expect_matches": "("}, "expect_matches", "not a regular expression of RE2"),
    ("tcp", {"expect_matches": "a\r\n"}, "expect_matches", "match pattern"),
    ("tcp", {"expect": "a", "expect_matches": "a"}, "expect_matches", "exclude each other"),
    ("tcp", {"expect_matches": 5}, "expect_matches", "valid string"),
    ("tcp", {"certificate_days": 366}, "certificate_days", "less than or equal to 365"),
    ("tcp", {"certificate_fail_days": -1}, "certificate_fail_days", "greater than or equal to 0"),
    ("tls", {"port": 0}, "port", "greater than or equal to 1"),
    ("tls", {"port": "a"}, "port", "valid integer"),
    ("tls", {"minimum_version": "1.1"}, "minimum_version", "'1.2' or '1.3'"),
    ("tls", {"minimum_version": 1.3}, "minimum_version", "'1.2' or '1.3'"),
    ("tls", {"server_name": ""}, "server_name", "not a valid host name"),
    ("tls", {"certificate_days": "soon"}, "certificate_days", "valid integer"),
    ("tls", {"certificate_fail_days": 1.5}, "certificate_fail_days", "valid integer"),
    ("grpc", {"port": 65536}, "port", "less than or equal to 65535"),
    ("grpc", {"service": "a\nb"}, "service", "match pattern"),
    ("grpc", {"service": "a" * 256}, "service", "at most 255 characters"),
    ("grpc", {"service": None}, "service", "valid string"),
    ("grpc", {"tls": "tls"}, "tls", "valid boolean"),
    ("grpc", {"authority": "a:0"}, "authority", "from 1 to 65535"),
    ("grpc", {"authority": "a/b"}, "authority", "host or host:port"),
    ("grpc", {"authority": "a\r\nb"}, "authority", "host or host:port"),
    ("grpc", {"headers": {"te": "a"}}, "headers", "te is set by the probe itself"),
    ("grpc", {"headers": {"Grpc-Timeout": "1S"}}, "headers", "grpc-timeout is set by the probe itself"),
    ("grpc", {"headers": {":path": "a"}}, "headers", "not a valid name of metadata"),
    ("grpc", {"headers": {"a": "1", "A": "2"}}, "headers", "duplicate name"),
    ("grpc", {"headers": {"a-bin": "a b"}}, "headers", "a-bin must be base64"),
    ("grpc", {"headers": {"a": "1\n"}}, "headers", "match pattern"),
    ("grpc", {"headers": {"a": "secret:/etc/passwd"}}, "headers", "the name of a file in secrets/targets"),
    ("grpc", {"headers": {f"a{number}": "" for number in range(33)}}, "headers", "at most 32 items"),
    ("dns", {"minimum_ttl": -1}, "minimum_ttl", "greater than or equal to 0"),
    ("dns", {"minimum_ttl": 604_801}, "minimum_ttl", "less than or equal to 604800"),
    ("dns", {"minimum_ttl": "long"}, "minimum_ttl", "valid integer"),
    ("dns", {"dnssec": True}, "dnssec", "'ignored' or 'required'"),
    ("ping", {"packets": 0}, "packets", "greater than or equal to 1"),
    ("ping", {"packets": 21}, "packets", "less than or equal to 20"),
    ("ping", {"packets": "two"}, "packets", "valid integer"),
    ("ping", {"maximum_loss_percent": 100}, "maximum_loss_percent", "less than or equal to 99"),
    ("ping", {"maximum_loss_percent": None}, "maximum_loss_percent", "valid number"),
    ("ping", {"packets": 2, "maximum_jitter_ms": 0}, "maximum_jitter_ms", "greater than 0"),
    ("ping", {"packets": 2, "maximum_jitter_ms": "nan"}, "maximum_jitter_ms", "less than or equal to 60000"),
    ("ping", {"maximum_jitter_ms": 5}, "maximum_jitter_ms", "jitter needs at least two packets"),
)


@pytest.mark.parametrize(("kind", "settings", "field", "reason"), INVALID)
def test_an_invalid_setting_is_refused_at_its_field(
    kind: str, settings: dict[str, Any], field: str, reason: str
) -> None:
    with pytest.raises(ValidationError) as raised:
        SPEC.validate_python(VALID[kind] | settings)
    [error] = raised.value.errors()
    assert error["loc"][:2] == (kind, field)
    assert reason in error["msg"]


def test_every_setting_of_these_kinds_has_an_invalid_value_above() -> None:
    others = {"kind", "host", "name", "record", "expected", "match", "resolver"}  # tested in test_app_specs.py
    for spec in (TcpSpec, TlsSpec, GrpcSpec, DnsSpec, PingSpec):
        kind = spec.model_fields["kind"].default
        tested = {field for of, _, field, _ in INVALID if of == kind} | ({"port"} if kind == "tcp" else set())
        if kind == "grpc":
            tested |= {"certificate_days", "certificate_fail_days"}  # those of tls
        assert spec.model_fields.keys() - others == tested - others


@pytest.mark.parametrize("kind", list(VALID))
def test_the_form_has_the_field_of_each_error(kind: Any) -> None:
    templates = Environment(loader=FileSystemLoader(Path(page.__file__).parent / "templates"), autoescape=True)
    module: Any = templates.get_template(f"kinds/{kind}.html").module
    macros = [getattr(module, name, None) for name in ("form_fields", "more_fields")]
    form = "".join(macro(KINDS[kind].blank) for macro in macros if macro)
    assert [field for of, _, field, _ in INVALID if of == kind and f'id="spec/{kind}/{field}"' not in form] == []


@pytest.mark.parametrize(
    ("spec", "measured", "shown"),
    [
        (PingSpec(host="a", packets=4), {"loss_percent": 25.0, "jitter_ms": 2.345}, ["Loss|25 %", "Jitter|2.35 ms"]),
        (PingSpec(host="a", packets=2, maximum_jitter_ms=5), {}, ["Packets|2, loss up to 0 %, jitter up to 5 ms"]),
        (
            TlsSpec(host="a"),
            {"certificate_days": 20.5, "tls_ms": 3.0},
            ["Certificate|20 days left", "Phases|TLS 3.0 ms"],
        ),
        (TcpSpec(host="a", port=1, starttls="smtp", send="<b>"), {}, ["TLS|STARTTLS, smtp", "Sends|&lt;b&gt;"]),
        (GrpcSpec(host="a", port=1, headers={"x-key": MASK}), {}, ["Service|the server", "Headers|x-key"]),
        (TlsSpec(host="a", ca_certificate="secret:ca"), {}, ["Certificate authorities|secret:ca"]),
        (DnsSpec(name="a", dnssec="required", minimum_ttl=60), {}, ["DNSSEC|required", "TTL at least|60 s"]),
    ],
)
def test_the_page_shows_the_settings_and_what_was_measured(
    spec: Any, measured: dict[str, Any], shown: list[str]
) -> None:
    template = _Pages(Assets(), "1")._templates.get_template(f"kinds/{spec.kind}.html")
    latest = Probe(id=uuid4(), url="", target="", requested_at=datetime.now(UTC), **measured)
    html = template.module.facts(spec, latest)  # type: ignore[attr-defined]
    for label, value in (each.split("|") for each in shown):
        assert f"<dt>{label}</dt><dd>{value}</dd>" in html


@pytest.mark.parametrize(
    ("spec", "stored"),
    [
        (TcpSpec(host="a", port=1), {"kind": "tcp", "host": "a", "port": 1}),
        (PingSpec(host="a"), {"kind": "ping", "host": "a"}),
        (DnsSpec(name="a"), {"kind": "dns", "name": "a", "record": "A", "expected": []}),
    ],
)
def test_a_target_without_new_settings_is_stored_as_the_former_release_knows_it(
    spec: TcpSpec | PingSpec | DnsSpec, stored: dict[str, Any]
) -> None:
    assert spec.model_dump() == stored


def test_addresses_are_urls() -> None:
    assert TlsSpec(host="::1").address == "tls://[::1]:443"
    assert GrpcSpec(host="A.example", port=50051, tls=False).address == "grpc://a.example:50051"
    assert (
        GrpcSpec(host="a.example", port=443, service="shop.v1.Orders").address == "grpcs://a.example:443/shop.v1.Orders"
    )


def test_metadata_is_masked_and_in_lower_case() -> None:
    spec = GrpcSpec(host="a", port=1, headers={"X-Key": "hidden", "Token": "secret:a", "a-bin": "AAE"})
    assert spec.masked().headers == {"x-key": MASK, "token": "secret:a", "a-bin": MASK}
    assert SPEC.validate_python(spec.masked().model_dump()) == spec.masked()


@given(st.binary(max_size=50))
@PROPERTY
def test_all_bytes_can_be_written(data: bytes) -> None:
    assert escapes.decode("".join(f"\\x{byte:02X}" for byte in data)) == data


@given(st.text(max_size=50).filter(lambda text: text.isprintable() and "\\" not in text))
@PROPERTY
def test_printable_text_stands_for_itself(text: str) -> None:
    assert escapes.decode(text) == text.encode()
    assert escapes.shown(text.encode(), 1000) == f"'{text}'"


@given(st.binary(max_size=50))
@PROPERTY
def test_shown_bytes_are_printable(data: bytes) -> None:
    assert escapes.shown(data, 20).isprintable()


def test_named_escapes() -> None:
    assert escapes.decode(r"\r\n\t\0\\\x41ä") == b"\r\n\t\x00\\A\xc3\xa4"
    assert escapes.shown(b"a\r\n\t\x00\xff", 100) == r"'a\r\n\t\x00\xff'"
