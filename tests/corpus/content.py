"""The body: compression and charsets."""

from __future__ import annotations

import codecs
import gzip
import zlib

from tests.corpus.answer import BROWSERS, CHARSET, PAGE, TEXT, Answer, page, sends

PACKED = gzip.compress(PAGE)
RAW_DEFLATE = zlib.compress(PAGE)[2:-4]
HTML = "<!doctype html>"


def encoded(encoding: str, body: bytes) -> bytes:
    """A page with a content encoding."""
    return page(body, f"Content-Encoding: {encoding}")


def in_charset(body: bytes, charset: str = "") -> bytes:
    """A page whose content type has a charset."""
    return page(body, kind=f"text/html; charset={charset}" if charset else "text/html")


def meta(tag: str, charset: str) -> bytes:
    """A page with an element in its head."""
    return f"{HTML}{tag}<p>{TEXT}</p>".encode(charset)


COMPRESSED = (
    Answer("gzip", sends(encoded("gzip", PACKED))),
    Answer("x-gzip", sends(encoded("x-gzip", PACKED))),
    Answer("gzip in upper case", sends(encoded("GZIP", PACKED))),
    Answer("deflate", sends(encoded("deflate", zlib.compress(PAGE)))),
    Answer("deflate without wrapper", sends(encoded("deflate", RAW_DEFLATE))),
    Answer("gzip twice", sends(encoded("gzip, gzip", gzip.compress(PACKED)))),
    Answer("gzip, truncated", sends(encoded("gzip", PACKED[:-12]))),
    Answer("gzip with a wrong checksum", sends(encoded("gzip", PACKED[:-8] + bytes(4) + PACKED[-4:]))),
    Answer("gzip with bytes after its end", sends(encoded("gzip", PACKED + b"more"))),
    Answer(
        "gzip of two members", sends(encoded("gzip", gzip.compress(PAGE[:30]) + gzip.compress(PAGE[30:]))), text=False
    ),
    Answer("named gzip, but is not", sends(encoded("gzip", PAGE)), text=False),
    Answer("gzip without a name", sends(page(PACKED, kind="application/gzip")), text=False),
    Answer("named br, but is not", sends(encoded("br", PAGE)), text=False),
    Answer("unknown encoding", sends(encoded("foo", PAGE)), reason=BROWSERS),
    Answer("encoding identity", sends(encoded("identity", PAGE))),
    Answer("encoding utf-8", sends(encoded("utf-8", PAGE)), reason=BROWSERS),
    Answer("empty encoding", sends(encoded("", PAGE))),
    Answer("gzip bomb", sends(encoded("gzip", gzip.compress(PAGE + bytes(64 * 1024 * 1024))))),
)

CHARSETS = (
    Answer("UTF-16 LE with BOM", sends(in_charset(codecs.BOM_UTF16_LE + PAGE.decode().encode("utf-16-le")))),
    Answer("UTF-16 BE with BOM", sends(in_charset(codecs.BOM_UTF16_BE + PAGE.decode().encode("utf-16-be")))),
    Answer("UTF-8 with BOM", sends(in_charset(codecs.BOM_UTF8 + PAGE))),
    Answer("BOM before header", sends(in_charset(codecs.BOM_UTF8 + PAGE, "iso-8859-1"))),
    Answer("UTF-16 by header", sends(in_charset(PAGE.decode().encode("utf-16-le"), "utf-16"))),
    Answer("Latin-1 by header", sends(in_charset(PAGE.decode().encode("latin-1"), "iso-8859-1"))),
    Answer("quoted charset", sends(in_charset(PAGE.decode().encode("latin-1"), '"iso-8859-1"'))),
    Answer("header before meta", sends(in_charset(meta("<meta charset=utf-8>", "latin-1"), "iso-8859-1"))),
    Answer("Latin-1 by meta", sends(in_charset(meta("<meta charset=iso-8859-1>", "latin-1")))),
    Answer(
        "meta http-equiv",
        sends(in_charset(meta("<META HTTP-EQUIV='Content-Type' CONTENT='text/html; charset=windows-1252'>", "cp1252"))),
    ),
    Answer("meta UTF-16, but is UTF-8", sends(in_charset(meta("<meta charset=utf-16>", "utf-8")))),
    Answer(
        "meta in a comment", sends(in_charset(meta("<!-- <meta charset=utf-16le> --><meta charset=utf-8>", "utf-8")))
    ),
    Answer(
        "meta after 1024 bytes", sends(in_charset(meta(f"<!--{'x' * 1100}--><meta charset=iso-8859-1>", "latin-1")))
    ),
    Answer("unknown charset", sends(in_charset(PAGE, "nonsense")), reason=CHARSET),
    Answer("no charset, Latin-1", sends(in_charset(PAGE.decode().encode("latin-1")))),
    Answer("no charset, UTF-8", sends(in_charset(PAGE)), reason=CHARSET),
    Answer("header UTF-8, but is Latin-1", sends(in_charset(PAGE.decode().encode("latin-1"), "utf-8")), text=False),
)
