"""Checks of a response, without sockets: each failure has a code, the actual and the expected value."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.http_checks import MAX_BODY
from netmon.probing.assertions import MAX_EXCERPT, Answer, failures, warning
from netmon.probing.certificates import Certificate
from netmon.probing.errors import OUTCOMES
from netmon.secret_values import MASK
from netmon.specs import HttpSpec
from tests.unit.app.properties import PROPERTY

Checks = dict[str, Any]

JSON = b'{"status": "up", "count": 3, "ok": true, "none": null, "list": [{"n": 1}, {"n": 2}], "token": "abc", "o": {}}'
OK: Checks = {
    "status": 200,
    "headers": {"content-type": "application/json", "x-version": "2.1"},
    "body": JSON,
    "received": len(JSON),
    "url": "https://a.example/end?key=value",
    "redirects": 2,
}


def checks(**settings: Any) -> HttpSpec:
    return HttpSpec(url="https://a.example/", **settings)


PASSED: tuple[Checks, ...] = (
    {},
    {"expected_status": [204, "2xx"]},
    {"expected_status": ["199-200"]},
    {"expected_headers": ["X-Version", "x-VERSION == 2.1", "Content-Type contains json", "X-Version matches ^2[.]"]},
    {"body_excludes": "down", "body_matches": '"up".*"count": [0-9]'},
    {"expected_json": ['$.status == "up"', "$.count >= 3", "$.count < 3.5", "$.ok == true", "$.none == null"]},
    {"expected_json": ["$.list[*].n > 0", "$.list[1].n == 2", "$.list[-1:].n != 1", '$["o"]', "$.none", "$.ok != 1"]},
    {"min_body_bytes": len(JSON), "max_body_bytes": len(JSON)},
    {"expected_protocol": "HTTP/1.1"},
    {"max_redirects": 2, "expected_url": "https://a.example/end?key=value"},
)

FAILED: tuple[tuple[Checks, Checks, str, str], ...] = (
    ({}, {"status": 503}, "http_status", "the target answered with status 503, expected below 400"),
    (
        {"expected_status": [204, "2xx", "300-304"]}, {"status": 404},
        "http_status", "the target answered with status 404, expected 204, 2xx, 300-304",
    ),
    (
        {"expected_headers": ["X-Version == 2"]}, {},
        "header", 'the header X-Version is "2.1", expected "2"',
    ),
    (
        {"expected_headers": ["Content-Type contains html"]}, {},
        "header", 'the header Content-Type is "application/json", expected to contain "html"',
    ),
    (
        {"expected_headers": ["X-Version matches ^3"]}, {},
        "header", 'the header X-Version is "2.1", expected to match "^3"',
    ),
    ({"expected_headers": ["X-No"]}, {}, "header", "the header X-No is missing, expected any value"),
    ({"expected_headers": ["X-No == 1"]}, {}, "header", 'the header X-No is missing, expected "1"'),
    (
        {"body_contains": "down"}, {"contains": False},
        "body", f'the first {len(JSON)} bytes of the body do not contain the expected text "down"',
    ),
    ({"body_excludes": "up"}, {}, "body", 'the body contains "up", expected that it does not'),
    (
        {"body_matches": "do+wn"}, {},
        "body", f'the first {len(JSON)} bytes of the body do not match the expected expression "do+wn"',
    ),
    ({"expected_json": ['$.status == "down"']}, {}, "json", '$.status is "up", expected "down"'),
    ({"expected_json": ["$.count < 3"]}, {}, "json", "$.count is 3, expected < 3"),
    ({"expected_json": ["$.status > 1"]}, {}, "json", '$.status is "up", expected > 1'),
    ({"expected_json": ["$.ok == 1"]}, {}, "json", "$.ok is true, expected 1"),
    ({"expected_json": ["$.none != null"]}, {}, "json", "$.none is null, expected != null"),
    ({"expected_json": ["$.o == 1"]}, {}, "json", "$.o is an object with 0 members, expected 1"),
    ({"expected_json": ["$.list == 1"]}, {}, "json", "$.list is an array of 2 values, expected 1"),
    ({"expected_json": ["$.list[*].n < 2"]}, {}, "json", "$.list[*].n is 2, expected < 2"),
    ({"expected_json": ["$.no"]}, {}, "json", "there is no value at $.no, expected any value"),
    ({"expected_json": ["$.list[7].n == 1"]}, {}, "json", "there is no value at $.list[7].n, expected 1"),
    (
        {"expected_json": ['$.a == "b"']}, {"body": b"<html>"},
        "json", 'the body is not JSON (line 1, column 1), expected $.a == "b"',
    ),
    ({"expected_json": ["$.a"]}, {"body": b""}, "json", "the body is not JSON: it is empty, expected $.a"),
    (
        {"expected_json": ["$.a"]}, {"body": b"[" * 100_000},
        "json", "the body is not JSON that can be read, expected $.a",
    ),
    (
        {"expected_json": ["$.a"]}, {"body": b'{"a": NaN}'},
        "json", "the body is not JSON that can be read, expected $.a",
    ),
    (
        {"expected_json": ["$.a"]}, {"body": b"\xff"},
        "json", "the body is not JSON that can be read, expected $.a",
    ),
    (
        {"expected_json": ["$.a"]}, {"received": MAX_BODY + 1},
        "json", f"the body has more than {MAX_BODY} bytes, too many for JSON, expected $.a",
    ),
    ({"min_body_bytes": 9}, {"received": 8}, "size", "the body has 8 bytes, expected at least 9"),
    ({"max_body_bytes": 7}, {"received": 8}, "size", "the body has 8 bytes, expected at most 7"),
    (
        {"max_body_bytes": 7}, {"received": MAX_BODY + 5},
        "size", f"the body has more than {MAX_BODY} bytes, expected at most 7",
    ),
    (
        {"expected_protocol": "HTTP/2"}, {"protocol": "HTTP/1.0"},
        "http_version", "the protocol is HTTP/1.0, expected HTTP/2",
    ),
    ({"max_redirects": 1}, {}, "redirects", "redirected 2 times, expected at most 1 redirects"),
    ({"max_redirects": 0}, {"redirects": 1}, "redirects", "redirected once, expected at most 0 redirects"),
    (
        {"expected_url": "https://b.example/?a=1"}, {},
        "url", f'the last URL is "https://a.example/end?key={MASK}", expected "https://b.example/?a={MASK}"',
    ),
)  # fmt: skip


@pytest.mark.parametrize("settings", PASSED, ids=str)
def test_a_response_that_is_as_expected_has_no_failures(settings: Checks) -> None:
    assert failures(checks(**settings), Answer(**OK)) == []


@pytest.mark.parametrize(("settings", "found", "code", "sentence"), FAILED, ids=lambda each: str(each)[:60])
def test_a_failure_has_a_code_and_a_sentence(settings: Checks, found: Checks, code: str, sentence: str) -> None:
    [failure] = failures(checks(**settings), Answer(**{**OK, **found}))
    assert failure == (code, sentence)
    assert failure.code in OUTCOMES


def test_all_failures_are_reported() -> None:
    found = failures(
        checks(expected_status=[204], expected_headers=["X-A", "X-B"], body_excludes="up", max_body_bytes=1),
        Answer(**OK),
    )
    assert [failure.code for failure in found] == ["http_status", "header", "header", "size", "body"]


@pytest.mark.parametrize("name", ["Set-Cookie", "Authorization", "X-Api-Key", "X-Auth", "X-Session-Id", "Token"])
def test_a_header_that_may_be_a_credential_is_masked(name: str) -> None:
    answer = Answer(200, headers={name.lower(): "a-secret"})
    [failure] = failures(checks(expected_headers=[f"{name} == b-secret"]), answer)
    assert failure.sentence == f"the header {name} is {MASK}, expected {MASK}"


def test_a_json_value_that_may_be_a_credential_is_masked() -> None:
    [failure] = failures(checks(expected_json=['$.token == "def"']), Answer(**OK))
    assert failure.sentence == f"$.token is {MASK}, expected {MASK}"


def test_a_credential_that_the_target_echoes_is_masked() -> None:
    body = b'{"a": "you sent abcd"}'
    answer = Answer(200, headers={"x-a": "abcd!"}, body=body, received=len(body), hidden=["abcd"])
    found = failures(checks(expected_headers=["X-A == 1"], expected_json=['$.a == "b"']), answer)
    assert [each.sentence for each in found] == [
        f'the header X-A is {MASK}, expected "1"', f'$.a is {MASK}, expected "b"',
    ]  # fmt: skip


@PROPERTY
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=MAX_EXCERPT + 1))
def test_a_long_value_is_shortened(value: str) -> None:
    body = json.dumps({"a": value}).encode()
    answer = Answer(200, headers={"x-a": value}, body=body, received=len(body))
    for failure in failures(checks(expected_json=["$.a == 1"], expected_headers=["X-A == 1"]), answer):
        assert value not in failure.sentence
        assert value[:MAX_EXCERPT] in failure.sentence


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        ("Größe".encode("utf-16"), "", "Größe"),
        ("Größe".encode("latin-1"), "text/html; charset=iso-8859-1", "Größe"),
        ("Größe".encode(), "text/html", "Größe"),
        ("Größe".encode("cp1252"), "", "Größe"),
    ],
)
def test_texts_are_compared_in_the_charset_of_the_body(body: bytes, content_type: str, text: str) -> None:
    answer = Answer(200, headers={"content-type": content_type}, body=body, received=len(body))
    assert failures(checks(body_matches="^.?Gr.ße$"), answer) == []
    assert [each.code for each in failures(checks(body_excludes=text), answer)] == ["body"]


def test_json_may_be_in_any_unicode_encoding() -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        body = '{"a": "ü"}'.encode(encoding)
        assert failures(checks(expected_json=['$.a == "ü"']), Answer(200, body=body, received=len(body))) == []


def test_a_certificate_that_expires_soon_is_a_warning() -> None:
    days = [Certificate("the certificate of a", 90), Certificate("the intermediate certificate b", 5)]
    answer = Answer(200, certificates=days, phases={"tls": 500})
    found = warning(checks(certificate_days=14, slow_phases_ms={"tls": 100}), answer)
    assert found == ("certificate", "the intermediate certificate b expires in 5.0 days")
    assert warning(checks(certificate_days=5), answer) is None
    expired = Answer(200, certificates=[Certificate("the certificate of a", -2)])
    assert warning(checks(), expired) == ("certificate", "the certificate of a expired 2.0 days ago")


def test_a_slow_phase_is_a_warning() -> None:
    limits: Checks = {"connect": 10.5, "tls": 100, "first_byte": 300}
    answer = Answer(200, phases={"connect": 10.5, "tls": 100.6, "first_byte": 512})
    assert warning(checks(slow_phases_ms=limits), answer) == (
        "slow", "TLS took 101 ms, more than 100 ms; first byte took 512 ms, more than 300 ms",
    )  # fmt: skip
    assert warning(checks(slow_phases_ms={"lookup": 1}), answer) is None, "not reached"


@pytest.mark.parametrize(
    "settings",
    [
        {"body_matches": "(a+)+$"},
        {"body_matches": "(a|aa)*(a|aa)*(a|aa)*b"},
        {"expected_headers": ["X matches (.*)*(.*)*(.*)*!"]},
    ],
    ids=str,
)
def test_no_regular_expression_takes_long(settings: Checks) -> None:
    answer = Answer(200, body=b"a" * MAX_BODY, received=MAX_BODY, headers={"x": "a" * 100_000})
    started = time.process_time()
    failures(checks(**settings), answer)
    assert time.process_time() - started < 3


@pytest.mark.parametrize("body", [b"[" + b"1," * 500_000 + b"1]", b"[" + b"[[[1]]]," * 100_000 + b"1]"], ids=len)
def test_no_json_path_takes_long(body: bytes) -> None:
    answer = Answer(200, body=body, received=len(body))
    started = time.process_time()
    found = failures(checks(expected_json=["$" + "[*]" * 300, "$[0:]", "$[*][0]"] * 3), answer)
    assert time.process_time() - started < 3
    assert found[1].sentence == "$[0:] leads to more than 10000 values, expected any value"
