"""The URL that a redirect leads to, as browsers understand it (WHATWG)."""

from __future__ import annotations

import re
from urllib.parse import urljoin

from netmon.probing.errors import ProbeError
from netmon.url_targets import InvalidTargetError, WebUrl

_DROPPED = str.maketrans("", "", "\t\r\n")
_EDGES = "".join(map(chr, range(0x21)))
_SCHEME = re.compile(r"(?P<scheme>https?):(?P<slashes>/*)", re.IGNORECASE)


def follow(base: WebUrl, location: bytes) -> WebUrl:
    """The URL of a header `Location` in a response to `base`.

    Raises:
        ProbeError: it leads to no URL of HTTP.
    """
    try:
        text = location.decode()
    except UnicodeDecodeError:
        text = location.decode("latin-1")
    text = text.strip(_EDGES).translate(_DROPPED)
    path, mark, rest = re.match(r"([^?#]*)([?#]?)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    text = path.replace("\\", "/") + mark + rest
    if (scheme := _SCHEME.match(text)) and scheme["scheme"].lower() == base.scheme and len(scheme["slashes"]) < 2:
        text = text[scheme.end("scheme") + 1 :]  # relative, in spite of its scheme
    elif scheme:
        return _parsed(f"{scheme['scheme']}://{text[scheme.end() :]}")
    return _parsed(urljoin(base.text, text))


def _parsed(text: str) -> WebUrl:
    try:
        return WebUrl.parse(text)
    except InvalidTargetError:
        raise ProbeError("protocol", "redirected to an address that is not valid") from None
