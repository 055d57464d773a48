"""Check that containers are independent: no fixed names, no links, no volumes of other containers."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding

COUPLING = ("container_name", "links", "volumes_from")


def coupling(checkout: Checkout) -> Iterator[Finding]:
    """No service has a fixed name, which a second replica or project would also need, or uses another container."""
    for each in checkout.full_configurations:
        for name, service in each.services.items():
            yield checkout.place(each.files, "services", name)
            for key in COUPLING:
                if key in service:
                    problem = f"{name} must not have {key}"
                    yield checkout.place(each.files, "services", name, key, problem=problem)
