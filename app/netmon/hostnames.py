"""Host names in ASCII, as browsers have them: UTS 46, not transitional (https://www.unicode.org/reports/tr46/)."""

import re
import socket
from contextlib import suppress
from ipaddress import ip_address

import idna

MAX_LENGTH = 253

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)
_JOINERS = "\u200c\u200d"


def literal_address(host: str) -> str | None:
    """The IP address that a host is, in its usual notation: also of ::1, 127.1 or 0x7f000001; None if it is a name."""
    with suppress(ValueError):
        ip_address(host)
        return host
    with suppress(OSError, UnicodeError):
        return socket.inet_ntoa(socket.inet_aton(host))
    return None


def to_ascii(text: str) -> str:
    """The lower-case ASCII form of a host name, without a final dot: `Straße.de` is `xn--strae-oqa.de`.

    A name that is ASCII already stays as it is: the `xn--` labels in it are not decoded.

    Raises:
        ValueError: `text` is not a valid host name.
    """
    try:
        name = _mapped(text.strip()).rstrip(".")
    except UnicodeError:
        raise ValueError("not a valid host name") from None
    if len(name) > MAX_LENGTH or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError("not a valid host name")
    return name


def _mapped(text: str) -> str:
    if text.isascii():
        return text.lower()
    mapped = idna.uts46_remap(text, std3_rules=False)
    return ".".join(label if label.isascii() else _encoded(label) for label in mapped.split("."))


def _encoded(label: str) -> str:
    """A label in Punycode, after the checks of UTS 46 that browsers make (CheckJoiners, CheckBidi).

    `idna.encode` would refuse what IDNA 2008 does, such as emoji.
    """
    idna.check_initial_combiner(label)
    idna.check_bidi(label)
    for position, character in enumerate(label):
        if character in _JOINERS and not idna.valid_contextj(label, position):
            raise idna.IDNAError(f"a joiner is not allowed at position {position}")
    return f"xn--{label.encode('punycode').decode('ascii')}"
