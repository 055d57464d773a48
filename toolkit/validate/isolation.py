"""Containers keep to themselves: no fixed names, nothing borrowed from another one, networks without a way out."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding

COUPLING = ("container_name", "links", "volumes_from")


def coupling(checkout: Checkout) -> Iterator[Finding]:
    """No service has a name that a second replica or project would take as well, or parts of another container."""
    for each in checkout.whole:
        for name, service in each.services.items():
            yield checkout.place(each.files, "services", name)
            for key in COUPLING:
                if key in service:
                    problem = f"{name} must not have {key}"
                    yield checkout.place(each.files, "services", name, key, problem=problem)
