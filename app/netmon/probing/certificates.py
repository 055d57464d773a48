"""The certificates of the servers of a probe, and which of them expires first."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from netmon.probing.attempt import Attempt
from netmon.probing.errors import ProbeError

_DAY = 86_400
_COMMON_NAME = re.compile(r"CN ?= ?([^,/\n]+)")


class Certificate(NamedTuple):
    """A certificate that a server has sent."""

    subject: str
    """The subject of the certificate, for people."""
    days: float
    """Until it expires."""


class Limits(Protocol):
    """The settings of certificates."""

    @property
    def certificate_days(self) -> int:
        """A certificate that expires in fewer days is a warning."""

    @property
    def certificate_fail_days(self) -> int:
        """A certificate that expires in fewer days is a failure."""


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


def of_session(host: str, session: ssl.SSLObject) -> list[Certificate]:
    """The certificates that the server of a TLS connection has sent, as those of `chain`."""
    # The public method, new in Python 3.13, returns them undecoded only.
    sent: Any = session._sslobj.get_unverified_chain() or ()  # type: ignore[attr-defined]
    fields = [each.get_info() for each in sent]
    return chain(host, [{"Subject": _subject(each), "Expire date": each["notAfter"]} for each in fields])


def _subject(fields: Mapping[str, Any]) -> str:
    return ",".join(f"CN={value}" for part in fields["subject"] for name, value in part if name == "commonName")


def judge(found: Sequence[Certificate], limits: Limits, attempt: Attempt) -> None:
    """Note the days that are left of a server's certificate, and check those of its chain.

    Raises:
        ProbeError: one of them expires too early; the one that expires first is named.
    """
    if not found:
        return
    attempt.certificate_days = round(found[0].days, 2)
    first = min(found, key=lambda each: each.days)
    if first.days < limits.certificate_fail_days:
        raise ProbeError(
            "certificate",
            f"{first.subject} expires in {first.days:.1f} days, expected at least {limits.certificate_fail_days}",
        )
    if first.days < limits.certificate_days:
        attempt.warning = "certificate"
        attempt.detail = f"{first.subject} expires in {first.days:.1f} days"
