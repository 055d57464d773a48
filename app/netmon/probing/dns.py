"""A query to the resolver of the platform's host."""

from functools import cached_property

import dns.asyncresolver
import dns.resolver

from netmon import zone
from netmon.guard import Guard, RefusedAddressError
from netmon.probing.errors import ProbeError
from netmon.specs import DnsSpec


class DnsProber:
    """Queries records and checks the answers."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    @cached_property
    def _resolver(self) -> dns.asyncresolver.Resolver:
        return dns.asyncresolver.Resolver()  # of /etc/resolv.conf

    async def probe(self, spec: DnsSpec, timeout_seconds: float) -> None:
        """Query the record of a spec.

        Raises:
            FAILURES: see `netmon.probing.errors`.
        """
        answer = await self._resolver.resolve(spec.name, spec.record, lifetime=timeout_seconds, search=False)
        self._check_addresses(spec, answer)
        values = {zone.comparable(record) for record in answer}
        missing = [value for value in spec.expected if zone.parse(spec.record, value) not in values]
        if missing:
            raise ProbeError("answer", f"not among the {len(values)} answers: {', '.join(missing)}")

    def _check_addresses(self, spec: DnsSpec, answer: dns.resolver.Answer) -> None:
        """Refuse the addresses of internal names: they would reveal the network of the platform."""
        if spec.record not in ("A", "AAAA"):
            return
        if not all(self._guard.permits(record.address, spec.name, None) for record in answer):
            raise RefusedAddressError(
                f"{spec.name} has an address that is not public, and ALLOW_PRIVATE_TARGETS does not allow it"
            )
