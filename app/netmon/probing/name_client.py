"""Questions to the name servers of this host."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.resolver

from netmon.probing import staggered
from netmon.probing.name_server import NameServer, NameServerError

NEXT_SERVER_SECONDS = 0.5
"""How long a name server may be silent before the next one is asked as well."""

_EXPECTED = (OSError, NameServerError, dns.exception.DNSException)


class Answer(NamedTuple):
    """The answer of name servers about the records of one type of a name."""

    exists: bool
    """Whether the name exists, with or without such records."""
    records: tuple[dns.rdata.Rdata, ...]
    """The records at the end of the chain of aliases."""
    ttl: int
    """Seconds for which this is valid: the shortest of the chain; without records, the minimum of the zone."""
    is_authentic: bool = False
    """Whether the name server has verified the signatures of DNSSEC (the AD bit)."""


async def ask(
    servers: Sequence[NameServer], name: str, record: dns.rdatatype.RdataType, *, authentic: bool = False
) -> Answer:
    """The answer of the first name server that gives a valid one. `name` is complete: no search domain is applied.

    Args:
        servers: the name servers.
        name: the name.
        record: the type of the records.
        authentic: whether the name server is asked to report whether it has verified the answer (RFC 6840, 5.7).

    Raises:
        dns.exception.Timeout: no name server answers.
        dns.resolver.NoNameservers: each name server is unreachable, or reports a failure.
        dns.exception.DNSException: the name or the answer is not valid, such as a loop of aliases.
    """
    query = dns.message.make_query(dns.name.from_text(name), record)
    if authentic:
        query.flags |= dns.flags.AD
    try:
        response = await staggered.first(
            [partial(server.ask, query) for server in servers], NEXT_SERVER_SECONDS, _EXPECTED
        )
    except staggered.AllFailedError as error:
        if any(isinstance(failure, dns.exception.Timeout) for failure in error.failures):
            raise dns.exception.Timeout from None
        raise dns.resolver.NoNameservers from error
    return _answer(response)


def _answer(response: dns.message.Message) -> Answer:
    if not isinstance(response, dns.message.QueryMessage):
        raise dns.exception.FormError
    chain = response.resolve_chaining()
    exists = chain.answer is not None or response.rcode() != dns.rcode.NXDOMAIN
    return Answer(exists, tuple(chain.answer or ()), chain.minimum_ttl, bool(response.flags & dns.flags.AD))
