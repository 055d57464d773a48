"""What a container's processes may do, and whose namespaces they are in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from toolkit.policy.rule import Service, Violation
from toolkit.policy.running import Container

ROOT = frozenset({"", "0", "root"})
DEFAULT_CAPABILITIES = frozenset(
    {"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "NET_BIND_SERVICE", "NET_RAW",
     "SYS_CHROOT", "MKNOD", "AUDIT_WRITE", "SETFCAP"}
)  # fmt: skip
"""What the engine leaves to a container for which nothing is said."""
OWN: Mapping[str, frozenset[str]] = {
    "network_mode": frozenset(),
    "pid": frozenset(),
    "ipc": frozenset({"private", "shareable", "none"}),
    "uts": frozenset(),
    "userns_mode": frozenset(),
    "cgroup": frozenset({"private"}),
}
"""Keys that can put a service into a namespace of the host or of another container, and the values that do not."""
MODES = ("NetworkMode", "PidMode", "IpcMode", "UTSMode", "UsernsMode")
DEVICES = ("devices", "device_cgroup_rules", "gpus")
DEVICES_NOW = ("Devices", "DeviceCgroupRules", "DeviceRequests")


def user(service: Service) -> Iterator[Violation]:
    name = str(service.config.get("user", "")).partition(":")[0]
    if name in ROOT:
        yield Violation("runs as root" if name else "names no user", ("user",))


def user_now(container: Container) -> Iterator[Violation]:
    if any(0 in process.users for process in container.processes):
        yield Violation("has a process that is root")


def added(service: Service) -> Iterator[Violation]:
    for name in service.config.get("cap_add", []):
        yield Violation(f"is given the capability {name}", ("cap_add",), name.removeprefix("CAP_"))


def added_now(container: Container) -> Iterator[Violation]:
    yield from (each for each in kept_now(container) if each.of not in DEFAULT_CAPABILITIES)


def kept(service: Service) -> Iterator[Violation]:
    if "ALL" not in service.config.get("cap_drop", []):
        yield Violation("keeps capabilities: cap_drop must be [ALL]", ("cap_drop",))
    yield from added(service)


def kept_now(container: Container) -> Iterator[Violation]:
    found: frozenset[str] = frozenset().union(*(process.capabilities for process in container.processes))
    yield from (Violation(f"has the capability {name}", of=name) for name in sorted(found))


def privileged(service: Service) -> Iterator[Violation]:
    if service.config.get("privileged"):
        yield Violation("is privileged", ("privileged",))


def privileged_now(container: Container) -> Iterator[Violation]:
    if container.host["Privileged"]:
        yield Violation("is privileged")


def gains(service: Service) -> Iterator[Violation]:
    if "no-new-privileges:true" not in service.config.get("security_opt", []):
        yield Violation("may gain privileges: security_opt must have no-new-privileges:true", ("security_opt",))


def gains_now(container: Container) -> Iterator[Violation]:
    if not all(process.no_new_privileges for process in container.processes):
        yield Violation("has a process that may gain privileges")


def unconfined(service: Service) -> Iterator[Violation]:
    for option in service.config.get("security_opt", []):
        if "unconfined" in option or option == "label:disable":
            yield Violation(f"switches a protection of the engine off: {option}", ("security_opt",))


def unconfined_now(container: Container) -> Iterator[Violation]:
    if not all(process.filtered for process in container.processes):
        yield Violation("has a process without a filter of system calls")
    if not container.host["MaskedPaths"] or not container.host["ReadonlyPaths"]:
        yield Violation("sees all of /proc")


def namespaces(service: Service) -> Iterator[Violation]:
    for key, values in OWN.items():
        if key in service.config and service.config[key] not in values:
            yield Violation(f"leaves its own namespace: {key}: {service.config[key]}", (key,))


def namespaces_now(container: Container) -> Iterator[Violation]:
    for kind in sorted(container.namespaces):
        yield Violation(f"is in the host's namespace {kind}")
    for mode in MODES:
        if re.fullmatch(r"host|container:.*", container.host.get(mode) or ""):
            yield Violation(f"leaves its own namespace: {mode} {container.host[mode]}")


def devices(service: Service) -> Iterator[Violation]:
    yield from (Violation(f"is given {key}", (key,)) for key in DEVICES if service.config.get(key))


def devices_now(container: Container) -> Iterator[Violation]:
    yield from (Violation(f"is given {key}") for key in DEVICES_NOW if container.host.get(key))
