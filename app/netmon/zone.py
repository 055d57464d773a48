"""Values of DNS records as a zone file writes them (RFC 1035), made comparable."""

from collections.abc import Hashable

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from dns.rdtypes.txtbase import TXTBase


def comparable(record: dns.rdata.Rdata) -> Hashable:
    """What two records have in common that say the same: upper case, or how a text is cut into strings, is nothing."""
    return b"".join(record.strings) if isinstance(record, TXTBase) else record


def parse(kind: str, text: str) -> Hashable:
    """A value of a record of `kind`, comparable. Names are absolute; a text may stand without its quotes.

    Raises:
        ValueError: it is not one.
    """
    if kind == "TXT" and not text.startswith('"'):
        return text.encode()
    try:
        return comparable(dns.rdata.from_text(dns.rdataclass.IN, kind, text, origin=dns.name.root, relativize=False))
    except (dns.exception.DNSException, ValueError, OverflowError):
        raise ValueError(f"{text!r} is not the value of a record {kind}") from None
