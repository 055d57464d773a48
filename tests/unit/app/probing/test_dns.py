"""DNS probes against arbitrary responses."""

from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from netmon.guard import Guard
from netmon.models import Outcome, Plan
from netmon.probing import dns as prober
from netmon.specs import DnsSpec
from tests.unit.app.probing.probes import EVERYWHERE, carry_out
from tests.unit.app.probing.servers import name_server, system_names

pytestmark = pytest.mark.anyio

ZONE = {
    ("example.org.", "A"): ["93.184.216.34", "93.184.216.35"],
    ("example.org.", "AAAA"): ["2606:2800:220:1::1"],
    ("example.org.", "MX"): ["10 mail.example.org."],
    ("example.org.", "TXT"): ['"v=spf1 " "-all"'],
    ("example.org.", "CAA"): ['0 issue "ca.example"'],
    ("db.", "A"): ["172.20.0.5"],
    ("mixed.example.", "A"): ["93.184.216.34", "10.0.0.1"],
    ("inside.example.", "AAAA"): ["fd00::1"],
}


def from_zone(question: dns.message.Message) -> bytes:
    asked = question.question[0]
    answer = dns.message.make_response(question)
    kind = dns.rdatatype.to_text(asked.rdtype)
    if values := ZONE.get((str(asked.name), kind)):
        answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", kind, *values))
    elif str(asked.name) not in {name for name, _ in ZONE}:
        answer.set_rcode(dns.rcode.NXDOMAIN)
    return answer.to_wire()


async def ask(
    reply: Any,
    name: str = "example.org",
    record: str = "A",
    expected: tuple[str, ...] = (),
    allowed: Guard = EVERYWHERE,
    timeout: float = 5,
    **more: Any,
) -> Outcome:
    async with name_server(reply) as port:
        with system_names(port) as names:
            spec = {"kind": "dns", "name": name, "record": record, "expected": list(expected), **more}
            return await carry_out(Plan.model_validate({"spec": spec, "timeout_seconds": timeout}), allowed, names)


@pytest.mark.parametrize(
    ("record", "expected", "error"),
    [
        ("A", (), None),
        ("A", ("93.184.216.35",), None),
        ("A", ("93.184.216.36",), "answer"),
        ("AAAA", ("2606:2800:0220:0001:0:0:0:1",), None),
        ("MX", ("10 MAIL.example.org.",), None),
        ("MX", ("10 mail.example.org",), None),
        ("MX", ("20 mail.example.org.",), "answer"),
        ("TXT", ("v=spf1 -all",), None),
        ("TXT", ('"v=spf1 -all"',), None),
        ("TXT", ('"v=spf1" " -all"',), None),
        ("TXT", ("v=spf1",), "answer"),
        ("CAA", ('0 issue "ca.example"',), None),
        ("NS", (), "no_answer"),
    ],
)
async def test_dns_answers_are_compared_with_the_expected_values(
    record: str, expected: tuple[str, ...], error: str | None
) -> None:
    outcome = await ask(from_zone, record=record, expected=expected, allowed=Guard())
    assert outcome.error == error


async def test_an_unknown_name_has_no_answer() -> None:
    assert (await ask(from_zone, name="nowhere.example")).error == "no_answer"


@pytest.mark.parametrize(("name", "record"), [("db", "A"), ("mixed.example", "A"), ("inside.example", "AAAA")])
async def test_private_addresses_in_dns_answers_are_refused(name: str, record: str) -> None:
    assert (await ask(from_zone, name=name, record=record)).status == "succeeded"
    outcome = await ask(from_zone, name=name, record=record, allowed=Guard.parse(f"{name}:5432"))
    assert outcome.error == "refused_address"
    for (_, kind), values in ZONE.items():
        assert kind not in ("A", "AAAA") or not any(value in (outcome.detail or "") for value in values)


def refused(question: dns.message.Message) -> bytes:
    answer = dns.message.make_response(question)
    answer.set_rcode(dns.rcode.REFUSED)
    return answer.to_wire()


def for_another_name(question: dns.message.Message) -> bytes:
    answer = dns.message.make_response(question)
    answer.answer.append(dns.rrset.from_text("other.example.", 60, "IN", "A", "93.184.216.34"))
    return answer.to_wire()


def a_loop(question: dns.message.Message) -> bytes:
    answer = dns.message.make_response(question)
    answer.answer.append(dns.rrset.from_text("example.org.", 60, "IN", "CNAME", "b.example."))
    answer.answer.append(dns.rrset.from_text("b.example.", 60, "IN", "CNAME", "example.org."))
    return answer.to_wire()


def with_another_id(question: dns.message.Message) -> bytes:
    answer = bytearray(from_zone(question))
    answer[0] ^= 0xFF
    return bytes(answer)


def truncated(question: dns.message.Message) -> bytes:
    answer = dns.message.make_response(question)
    answer.flags |= dns.flags.TC  # and no server listens on TCP
    return answer.to_wire()


@pytest.mark.parametrize(
    ("reply", "errors"),
    [
        (lambda _: None, {"timeout"}),
        (lambda _: b"", {"timeout", "dns"}),
        (lambda question: question.to_wire()[:2] + bytes(1), {"timeout", "dns"}),
        (lambda question: question.to_wire()[:2] + b"\x81\x80" + b"\xff" * 400, {"timeout", "dns"}),
        (lambda question: from_zone(question)[:-3], {"timeout", "dns"}),
        (with_another_id, {"timeout", "dns"}),
        (for_another_name, {"no_answer", "dns"}),
        (a_loop, {"no_answer", "dns"}),
        (refused, {"dns"}),
        (truncated, {"timeout", "dns"}),
    ],
)
async def test_an_invalid_dns_response_fails_the_probe(reply: Any, errors: set[str]) -> None:
    assert (await ask(reply, timeout=0.3)).error in errors


@pytest.mark.parametrize(
    ("expected", "error"),
    [
        (("93.184.216.35", "93.184.216.34"), None),
        (("93.184.216.35",), "answer"),
        (("93.184.216.34", "93.184.216.35", "93.184.216.36"), "answer"),
    ],
)
async def test_answers_that_must_be_equal_have_no_others(expected: tuple[str, ...], error: str | None) -> None:
    outcome = await ask(from_zone, expected=expected, match="equals")
    assert outcome.error == error
    assert "93.184.216.34" not in (outcome.detail or "")


async def test_a_name_server_of_choice_is_asked_if_the_guard_permits_it() -> None:
    def another(question: dns.message.Message) -> bytes:
        answer = dns.message.make_response(question)
        answer.answer.append(dns.rrset.from_text("example.org.", 60, "IN", "A", "93.184.216.99"))
        return answer.to_wire()

    async with name_server(another, host="127.0.0.2") as port:
        chosen: dict[str, Any] = {"expected": ("93.184.216.99",), "resolver": f"127.0.0.2:{port}"}
        assert (await ask(from_zone, expected=("93.184.216.99",))).error == "answer"
        assert (await ask(from_zone, **chosen)).status == "succeeded"
        assert (await ask(from_zone, **chosen, allowed=Guard.parse(f"127.0.0.2:{port}"))).status == "succeeded"
        refused = await ask(from_zone, **chosen, allowed=Guard())
        assert (refused.error, refused.attempts) == ("refused_address", 1)
        spec = DnsSpec(name="example.org", resolver=f"127.0.0.2:{port}")
        assert Guard().refuses(spec)
        assert not Guard.parse(f"127.0.0.2:{port}").refuses(spec)


async def test_a_name_server_with_ipv6_needs_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prober, "has_route", lambda _: False)
    assert (await ask(from_zone, resolver="2001:db8::53")).error == "no_ipv6"


def authentic(question: dns.message.Message) -> bytes:
    """Like a resolver that verifies signatures, and reports that if it is asked to."""
    answer = dns.message.from_wire(from_zone(question))
    if question.flags & dns.flags.AD:
        answer.flags |= dns.flags.AD
    return answer.to_wire()


@pytest.mark.parametrize(
    ("reply", "dnssec", "error"),
    [(authentic, "required", None), (from_zone, "required", "dnssec"), (from_zone, "ignored", None)],
)
async def test_dnssec_can_be_required(reply: Any, dnssec: str, error: str | None) -> None:
    outcome = await ask(reply, dnssec=dnssec)
    assert outcome.error == error
    assert outcome.detail == ("the name server has not verified the answers with DNSSEC" if error else None)


@pytest.mark.parametrize(("seconds", "error"), [(0, None), (60, None), (61, "ttl")])
async def test_the_ttl_has_a_lower_limit(seconds: int, error: str | None) -> None:
    outcome = await ask(from_zone, minimum_ttl=seconds)
    assert outcome.error == error
    assert outcome.detail == ("the answers are valid for 60 s, expected at least 61 s" if error else None)


async def test_the_values_are_checked_before_the_ttl() -> None:
    assert (await ask(from_zone, expected=("192.0.2.1",), minimum_ttl=61)).error == "answer"
