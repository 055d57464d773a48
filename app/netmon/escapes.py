r"""Bytes written as text: \r, \n, \t, \0, \\ and \xHH stand for single bytes, everything else is UTF-8."""

import re

_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|[rnt0\\]|.?)", re.DOTALL)
_BYTES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}


def decode(text: str) -> bytes:
    """The bytes that a text represents.

    Raises:
        ValueError: an escape is not one of the above, or the text has a control character.
    """
    if control := re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError(f"the character {ord(control[0]):#04x} must be written as \\r, \\n, \\t or \\xHH")
    found, end = b"", 0
    for escape in _ESCAPE.finditer(text):
        found += text[end : escape.start()].encode() + _byte(escape[1])
        end = escape.end()
    return found + text[end:].encode()


def _byte(name: str) -> bytes:
    if name in _BYTES:
        return _BYTES[name]
    if len(name) == 3:
        return bytes([int(name[1:], 16)])
    raise ValueError(f"\\{name} is not valid: write \\r, \\n, \\t, \\0, \\xHH or \\\\")


def shown(data: bytes, limit: int) -> str:
    """The start of some bytes in quotes, for people: bytes that are not printable text are escaped."""
    text = "".join(map(_escaped, data[:limit].decode(errors="backslashreplace")))
    return f"'{text}{'…' if len(data) > limit else ''}'"


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return {"\r": r"\r", "\n": r"\n", "\t": r"\t"}.get(character) or character.encode("unicode-escape").decode()
