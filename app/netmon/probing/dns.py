"""A query to the name servers of this host or of a target, whose answer is always fresh."""

from collections.abc import Sequence
from functools import lru_cache

import dns.rdatatype
import dns.resolver

from netmon import zone
from netmon.guard import Guard, RefusedAddressError
from netmon.probing import name_client
from netmon.probing.errors import NoIpv6Error, ProbeError
from netmon.probing.name_client import Answer
from netmon.probing.name_server import NameServer
from netmon.probing.routes import has_route
from netmon.probing.system_names import SystemNames
from netmon.specs import DNS_PORT, DnsSpec

MAX_SERVERS = 1000
"""Name servers of targets whose limits of questions are kept."""


class DnsProber:
    """Queries records and checks the answers."""

    def __init__(self, guard: Guard, system: SystemNames) -> None:
        self._guard = guard
        self._system = system
        self._chosen = lru_cache(MAX_SERVERS)(NameServer)  # keeps the limits of questions

    async def probe(self, spec: DnsSpec) -> None:
        """Query the record of a spec.

        Raises:
            FAILURES: see `netmon.probing.errors`.
        """
        answer = await name_client.ask(
            self._servers(spec),
            spec.name,
            dns.rdatatype.from_text(spec.record),
            authentic=spec.dnssec == "required",
        )
        if not answer.exists:
            raise dns.resolver.NXDOMAIN
        if not answer.records:
            raise dns.resolver.NoAnswer
        self._check_addresses(spec, answer)
        _check_values(spec, answer)
        if spec.dnssec == "required" and not answer.is_authentic:
            raise ProbeError("dnssec", "the name server has not verified the answers with DNSSEC")
        if answer.ttl < spec.minimum_ttl:
            raise ProbeError("ttl", f"the answers are valid for {answer.ttl} s, expected at least {spec.minimum_ttl} s")

    def _servers(self, spec: DnsSpec) -> Sequence[NameServer]:
        if spec.endpoint is None:
            return self._system.servers()
        address, port = spec.endpoint
        if not self._guard.permits(address, address, port):
            raise RefusedAddressError(
                f"the name server {address} has no public address, and ALLOW_PRIVATE_TARGETS does not allow it"
            )
        if ":" in address and not has_route(address):
            raise NoIpv6Error(f"the name server {address} has an IPv6 address, and the worker has no IPv6")
        return (self._chosen(address, port or DNS_PORT),)

    def _check_addresses(self, spec: DnsSpec, answer: Answer) -> None:
        """Refuse the addresses of internal names: they would reveal the network of the platform."""
        if spec.record not in ("A", "AAAA"):
            return
        if not all(self._guard.permits(str(record), spec.name, None) for record in answer.records):
            raise RefusedAddressError(
                f"{spec.name} has an address that is not public, and ALLOW_PRIVATE_TARGETS does not allow it"
            )


def _check_values(spec: DnsSpec, answer: Answer) -> None:
    values = {zone.comparable(record) for record in answer.records}
    expected = {zone.parse(spec.record, value): value for value in spec.expected}
    missing = [value for parsed, value in expected.items() if parsed not in values]
    if missing:
        raise ProbeError("answer", f"not among the {len(values)} answers: {', '.join(missing)}")
    if spec.match == "equals" and (others := values - expected.keys()):
        raise ProbeError("answer", f"{len(others)} of the {len(values)} answers are not expected")
