"""A text in the body of a response, in the charset that a browser would choose (WHATWG, encoding sniffing)."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence

PREFIX = 1024
"""Bytes in which a document may name its charset."""

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
# The labels that mean another charset on the web than in Python.
_WEB = {"iso8859-1": "cp1252", "ascii": "cp1252", "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932",
        "iso8859-9": "cp1254", "tis_620": "cp874", "euc_kr": "cp949", "utf-16": "utf-16-le"}  # fmt: skip
_HEADER = re.compile(r"""charset\s*=\s*["']?\s*([^\s"';,]+)""", re.IGNORECASE)
_COMMENT = re.compile(rb"<!--.*?(-->|\Z)", re.DOTALL)
_META = re.compile(rb"<meta[\s/][^>]*?charset\s*=\s*[\"']?\s*([^\s\"'/>;]+)", re.IGNORECASE)


class TextSearch:
    """Looks for a text in a body that comes in parts, and remembers whether it was there.

    Args:
        text: the text.
        content_type: the header of the response, empty if there is none.
    """

    def __init__(self, text: str, content_type: str) -> None:
        self._text = text
        self._content_type = content_type
        self._start = b""
        self._decoders: list[codecs.IncrementalDecoder] = []
        self._tails: list[str] = []
        self.found = False

    def feed(self, part: bytes) -> None:
        """Look in the next part of the body."""
        if not self._decoders:
            self._start += part
            if len(self._start) >= PREFIX:
                self._begin()
        else:
            self._look(part)
            return
        if not self._decoders:
            # A page that is sent slowly, or never ends, has its text looked for before its charset is certain.
            self.found = any(self._text in self._start.decode(each, "replace") for each in self._charsets())

    def end(self) -> None:
        """Search the rest, as the body has ended."""
        if not self._decoders:
            self._begin()

    def _begin(self) -> None:
        charsets = self._charsets()
        self._decoders = [codecs.getincrementaldecoder(each)("replace") for each in charsets]
        self._tails = ["" for _ in charsets]
        self._look(self._start)

    def _look(self, part: bytes) -> None:
        for number, decoder in enumerate(self._decoders):
            text = self._tails[number] + decoder.decode(part)
            self.found = self.found or self._text in text
            self._tails[number] = text[max(len(text) - len(self._text) + 1, 0) :]

    def _charsets(self) -> Sequence[str]:
        return charsets(self._start, self._content_type)


def charsets(start: bytes, content_type: str) -> Sequence[str]:
    """The charset of a body: of its BOM, the header or its `meta`, in this order; several if none of them names one."""
    for bom, charset in _BOMS:
        if start.startswith(bom):
            return (charset,)
    if (named := _HEADER.search(content_type)) and (known := _charset(named[1])):
        return (known,)
    if (tag := _META.search(_COMMENT.sub(b"", start[:PREFIX]))) and (known := _charset(tag[1].decode("latin-1"))):
        return ("utf-8" if known.startswith("utf-16") else known,)
    return ("utf-8", "cp1252")


def _charset(label: str) -> str | None:
    try:
        name = codecs.lookup(label.strip()).name
        b"a".decode(name, "replace")  # a codec of Python that is not one of text fails
    except (LookupError, ValueError):
        return None
    return _WEB.get(name, name)
