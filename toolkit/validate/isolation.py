"""Containers keep to themselves, and the security layer hardens every one of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding

SECURITY_LAYER = "docker-compose.security.yml"
# Keys that must not have the value beside them; None: must not be there at all.
FORBIDDEN: tuple[tuple[str, str | bool | None], ...] = (
    ("privileged", True),
    ("container_name", None),
    ("network_mode", None),
    ("pid", None),
    ("ipc", "host"),
    ("uts", None),
    ("userns_mode", None),
    ("cgroup", "host"),
    ("links", None),
    ("volumes_from", None),
)
HARDENED: dict[str, Any] = {
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "read_only": True,
}


def namespaces(checkout: Checkout) -> Iterator[Finding]:
    """No container is privileged, shares a namespace of the host, has a fixed name or the engine's socket."""
    for each in checkout.whole:
        for name, service in each.services.items():
            yield checkout.place(each.files, "services", name)
            for key, value in FORBIDDEN:
                if key in service and value in (None, service[key]):
                    problem = f"{name} must not have {key}: {str(service[key]).lower()}"
                    yield checkout.place(each.files, "services", name, key, problem=problem)
            for mount in service.get("volumes", []):
                if "docker.sock" in str(mount.get("source", "")):
                    problem = f"{name} holds the engine's socket, and so the host"
                    yield checkout.mount(each.files, name, mount["target"], problem)


def hardening(checkout: Checkout) -> Iterator[Finding]:
    """Where the security layer is used, every service is hardened by it."""
    for each in checkout.whole:
        if SECURITY_LAYER not in each.files:
            continue
        for name, service in each.services.items():
            for key, wanted in HARDENED.items():
                has = service.get(key)
                fine = set(wanted) <= set(has or []) if isinstance(wanted, list) else has == wanted
                problem = "" if fine else f"{name} is not hardened: {key} must be {wanted}"
                yield checkout.place((SECURITY_LAYER,), "services", name, key, problem=problem)
