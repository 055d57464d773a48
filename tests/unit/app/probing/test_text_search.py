"""A text in the body of a response: charsets, and bodies that come in parts."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.probing.text_search import PREFIX, TextSearch, charsets


def found(text: str, body: bytes, content_type: str = "", step: int = 1000) -> bool:
    search = TextSearch(text, content_type)
    for start in range(0, len(body), step):
        search.feed(body[start : start + step])
    search.end()
    return search.found


@pytest.mark.parametrize(
    ("start", "content_type", "expected"),
    [
        (codecs.BOM_UTF16_LE + b"a\0", "text/html; charset=utf-8", "utf-16-le"),
        (codecs.BOM_UTF8 + b"<meta charset=latin1>", "text/html; charset=iso-8859-1", "utf-8"),
        (b"<meta charset=utf-8>", "text/html; charset=windows-1251", "cp1251"),
        (b"<meta charset=utf-8>", "text/html; charset=nonsense", "utf-8"),
        (b"<meta charset='shift_jis'>", "text/html", "cp932"),
        (b'<META http-equiv=Content-Type content="text/html; charset=koi8-r">', "", "koi8-r"),
        (b"<!-- <meta charset=utf-16> --><meta charset=utf-8>", "", "utf-8"),
        (b"<meta charset=utf-16be>", "", "utf-8"),
        (b"", "text/html; CHARSET = \"ISO-8859-1\" ; x=y", "cp1252"),
    ],
)  # fmt: skip
def test_the_charset_is_that_of_bom_header_and_meta_in_this_order(
    start: bytes, content_type: str, expected: str
) -> None:
    assert charsets(start, content_type) == (expected,)


@pytest.mark.parametrize("label", ["zip", "hex", "rot13", "nonsense", "\x00", "idna", "undefined"])
def test_a_label_that_is_no_charset_is_ignored(label: str) -> None:
    assert found("größe", "größe".encode(), f"text/html; charset={label}")


def test_without_a_charset_both_usual_ones_are_tried() -> None:
    assert found("größe", "größe".encode())
    assert found("größe", "größe".encode("latin-1"))


@given(
    text=st.text(min_size=1, max_size=20),
    before=st.text(max_size=PREFIX * 2),
    charset=st.sampled_from(["utf-8", "utf-16-le", "utf-16-be"]),
    step=st.integers(1, 3000),
)
def test_a_text_is_found_wherever_the_parts_begin(text: str, before: str, charset: str, step: int) -> None:
    if any(0xD800 <= ord(each) <= 0xDFFF for each in text + before):
        return
    bom = {"utf-8": codecs.BOM_UTF8, "utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}[charset]
    assert found(text, bom + (before + text + before).encode(charset), step=step)
    assert not found(text, bom + before.replace(text[0], "").encode(charset), step=step)


def test_a_text_in_an_unfinished_body_is_found_at_once() -> None:
    search = TextSearch("needle", "")
    search.feed(b"a needle")
    assert search.found
