"""A query to the name servers of this host, whose answer is always fresh."""

import dns.rdatatype
import dns.resolver

from netmon import zone
from netmon.guard import Guard, RefusedAddressError
from netmon.probing import name_client
from netmon.probing.errors import ProbeError
from netmon.probing.name_client import Answer
from netmon.probing.system_names import SystemNames
from netmon.specs import DnsSpec


class DnsProber:
    """Queries records and checks the answers."""

    def __init__(self, guard: Guard, system: SystemNames) -> None:
        self._guard = guard
        self._system = system

    async def probe(self, spec: DnsSpec) -> None:
        """Query the record of a spec.

        Raises:
            FAILURES: see `netmon.probing.errors`.
        """
        answer = await name_client.ask(self._system.servers(), spec.name, dns.rdatatype.from_text(spec.record))
        if not answer.exists:
            raise dns.resolver.NXDOMAIN
        if not answer.records:
            raise dns.resolver.NoAnswer
        self._check_addresses(spec, answer)
        values = {zone.comparable(record) for record in answer.records}
        missing = [value for value in spec.expected if zone.parse(spec.record, value) not in values]
        if missing:
            raise ProbeError("answer", f"not among the {len(values)} answers: {', '.join(missing)}")

    def _check_addresses(self, spec: DnsSpec, answer: Answer) -> None:
        """Refuse the addresses of internal names: they would reveal the network of the platform."""
        if spec.record not in ("A", "AAAA"):
            return
        if not all(self._guard.permits(str(record), spec.name, None) for record in answer.records):
            raise RefusedAddressError(
                f"{spec.name} has an address that is not public, and ALLOW_PRIVATE_TARGETS does not allow it"
            )
