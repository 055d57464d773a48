"""URL targets: normalisation, keys, validation."""

import re

import pytest

from netmon.url_targets import MAX_URL_LENGTH, InvalidTargetError, parse_target


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("https://Example.org", "https:example.org:443"),
        ("https://example.org:443/", "https:example.org:443"),
        ("https://example.org/#part", "https:example.org:443"),
        ("http://app:3000", "http:app:3000"),
        ("http://bücher.example/", "http:xn--bcher-kva.example:80"),
        ("http://10.0.0.1:8080/", "http:10.0.0.1:8080"),
    ],
)
def test_the_key_of_the_root_of_a_host_is_readable(text: str, key: str) -> None:
    assert parse_target(text).key == key


@pytest.mark.parametrize(
    "text", ["http://app:3000/api/health", "http://app/?q=1", "http://[::1]:3000/", "http://[fe80::1]/x"]
)
def test_a_key_needs_no_escaping_in_a_path(text: str) -> None:
    key = parse_target(text).key
    assert re.fullmatch(r"https?:[a-z0-9.-]+:\d+:[0-9a-f]{12}", key)


def test_different_targets_have_different_keys() -> None:
    urls = [
        "http://a/",
        "http://a/b",
        "http://a/?b",
        "http://a:81/",
        "https://a/",
        "http://[fe80::1]/",
        "http://fe80--1/",
    ]
    assert len({parse_target(url).key for url in urls}) == len(urls)


def test_equivalent_urls_have_the_same_key() -> None:
    assert parse_target("HTTP://A:80/x/../b#1") == parse_target("http://a/b")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.org",
        "//example.org/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "http://:80/",
        "http://a:0/",
        "http://a:65536/",
        "http://a:port/",
        "http://user:secret@a/",
        "http://user@a/",
        "http://a b/",
        "http://a/\r\nX: y",
        "http://a/\x00",
        "http://[::1/",
        "http://[::1]@",
        "http://[*:80]/",
        "http://ö..example/",
        "http://a\u200db/",
        "http://a:" + "9" * 5000 + "/",
        "javascript:alert(1)",
        "http://a/" + "x" * MAX_URL_LENGTH,
    ],
)
def test_an_invalid_url_is_rejected(text: str) -> None:
    with pytest.raises(InvalidTargetError) as caught:
        parse_target(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("host", ["-foo-.example", "a_b", "a..b", "<host>", "a|b", "a^b", "%41", "a.", "x" * 64])
def test_urls_of_former_releases_stay_readable(host: str) -> None:
    assert parse_target(f"http://{host}/").url == f"http://{host}/"


def test_a_backslash_ends_the_host_as_in_browsers() -> None:
    assert parse_target("http://a\\b").url == "http://a/b"
