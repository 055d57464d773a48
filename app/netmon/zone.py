"""Comparable values of DNS records, parsed from the syntax of zone files (RFC 1035)."""

from collections.abc import Hashable

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from dns.rdtypes.txtbase import TXTBase


def comparable(record: dns.rdata.Rdata) -> Hashable:
    """A value that is equal for equivalent records: letter case and the splitting of TXT strings are ignored."""
    return b"".join(record.strings) if isinstance(record, TXTBase) else record


def parse(kind: str, text: str) -> Hashable:
    """The comparable value of a record of the type `kind`. Names are absolute; TXT may be unquoted.

    Raises:
        ValueError: `text` is not a valid value for this type.
    """
    if kind == "TXT" and not text.startswith('"'):
        return text.encode()
    try:
        return comparable(dns.rdata.from_text(dns.rdataclass.IN, kind, text, origin=dns.name.root, relativize=False))
    except (dns.exception.DNSException, ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a valid value of a {kind} record") from None
