"""Redirects: where they lead to, as browsers understand it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.probing.errors import ProbeError
from netmon.probing.locations import follow
from netmon.url_targets import WebUrl, parse_target

BASE = WebUrl.parse("http://a.example/b/c?d")


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (b"/x", "http://a.example/x"),
        (b"x", "http://a.example/b/x"),
        (b"?x", "http://a.example/b/c?x"),
        (b"#x", "http://a.example/b/c?d"),
        (b"//b.example", "http://b.example/"),
        (b"HTTPS://B.example:443/x", "https://b.example/x"),
        (b"https:/b.example/x", "https://b.example/x"),
        (b"http:x", "http://a.example/b/x"),
        (b"http:\\\\b.example\\x?\\y", "http://b.example/x?\\y"),
        (b" /x\t\n ", "http://a.example/x"),
        (b"/a b\xc3\xa4", "http://a.example/a%20b%C3%A4"),
        (b"/\xe4", "http://a.example/%C3%A4"),
        (b"/x/../%2E%2e/y/.", "http://a.example/y/"),
        (b"/?a=%2f%2F'\"", "http://a.example/?a=%2f%2F%27%22"),
        ("http://bücher.example/".encode(), "http://xn--bcher-kva.example/"),
    ],
)
def test_a_location_leads_to_the_url_that_a_browser_requests(location: bytes, expected: str) -> None:
    assert follow(BASE, location).text == expected


@pytest.mark.parametrize(
    "location", [b"ftp://a/", b"javascript:1", b"http://", b"http://a:0/", b"http://a:99999/", b"http://[::1/", b"http://a\x00b/"]
)  # fmt: skip
def test_a_location_that_is_no_url_of_http_fails_with_a_sentence(location: bytes) -> None:
    with pytest.raises(ProbeError, match="redirected to an address that is not valid"):
        follow(BASE, location)


@given(st.binary(max_size=60))
def test_every_location_is_followed_or_refused(location: bytes) -> None:
    try:
        url = follow(BASE, location)
    except ProbeError:
        return
    assert url.text.isascii()
    assert url.text.isprintable()
    assert " " not in url.text
    assert WebUrl.parse(url.text).target == url.target


PATH = st.text(
    "".join(map(chr, range(0x21, 0x7F))).translate(str.maketrans("", "", '"#<>?\\^`{}./')), max_size=30
).filter(lambda path: "%2e" not in path.lower())
QUERY = st.text("".join(map(chr, range(0x21, 0x7F))).translate(str.maketrans("", "", "\"#<>'")), max_size=30)


@given(PATH, QUERY)
def test_path_and_query_of_a_target_are_those_that_were_typed(path: str, query: str) -> None:
    assert parse_target(f"http://a/{path}?{query}").url == f"http://a/{path}?{query}"


@given(st.text(max_size=40))
def test_parsing_a_url_again_changes_nothing(text: str) -> None:
    try:
        url = parse_target(f"http://a/{text}").url
    except ValueError:
        return
    assert parse_target(url).url == url
