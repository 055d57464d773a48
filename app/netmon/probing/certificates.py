"""The certificates of the servers of a probe, and which of them expires first."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_DAY = 86_400
_COMMON_NAME = re.compile(r"CN ?= ?([^,/\n]+)")


class Certificate(NamedTuple):
    """A certificate that a server has sent."""

    subject: str
    """What it is of, for people."""
    days: float
    """Until it expires."""


def chain(host: str, sent: Sequence[Mapping[str, str]]) -> list[Certificate]:
    """The certificate of a server, and the intermediate ones after it.

    An intermediate certificate that has expired is left out: the verification has found another path, as for clients.
    """
    found = []
    for number, fields in enumerate(sent):
        days = (ssl.cert_time_to_seconds(fields["Expire date"]) - time.time()) / _DAY
        name = _COMMON_NAME.search(fields.get("Subject", ""))
        if number == 0:
            found.append(Certificate(f"the certificate of {host}", days))
        elif days > 0:
            found.append(Certificate(f"the intermediate certificate {name[1].strip() if name else ''}".strip(), days))
    return found
