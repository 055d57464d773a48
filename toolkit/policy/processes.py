"""Rules on processes: users, capabilities, privileges, namespaces and devices."""

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
"""The capabilities that the engine grants by default."""
PRIVATE_MODES: Mapping[str, frozenset[str]] = {
    "network_mode": frozenset(),
    "pid": frozenset(),
    "ipc": frozenset({"private", "shareable", "none"}),
    "uts": frozenset(),
    "userns_mode": frozenset(),
    "cgroup": frozenset({"private"}),
}
"""Keys that can share a namespace of the host or of another container, with the values that do not."""
MODES = ("NetworkMode", "PidMode", "IpcMode", "UTSMode", "UsernsMode")
DEVICES = ("devices", "device_cgroup_rules", "gpus")
DEVICES_RUNNING = ("Devices", "DeviceCgroupRules", "DeviceRequests")


def root_user_static(service: Service) -> Iterator[Violation]:
    """Demands a non-root user in the compose file: root in a container is root on the host after an escape."""
    name = str(service.config.get("user", "")).partition(":")[0]
    if name in ROOT:
        yield Violation("runs as root" if name else "sets no user", ("user",))


def root_user_running(container: Container) -> Iterator[Violation]:
    """Demands that no process of the container has user id 0, real, effective, saved or file system."""
    if any(0 in process.users for process in container.processes):
        yield Violation("has a process that runs as root")


def added_capabilities_static(service: Service) -> Iterator[Violation]:
    """Demands no capability beyond the engine's defaults: each one opens more of the kernel."""
    for name in service.config.get("cap_add", []):
        yield Violation(f"adds the capability {name}", ("cap_add",), name.removeprefix("CAP_"))


def added_capabilities_running(container: Container) -> Iterator[Violation]:
    """Demands the same of every capability set of every process."""
    yield from (each for each in any_capabilities_running(container) if each.of not in DEFAULT_CAPABILITIES)


def any_capabilities_static(service: Service) -> Iterator[Violation]:
    """Demands ``cap_drop: [ALL]`` and no ``cap_add``: services that run unprivileged need no capability."""
    if "ALL" not in service.config.get("cap_drop", []):
        yield Violation("keeps capabilities: cap_drop must be [ALL]", ("cap_drop",))
    yield from added_capabilities_static(service)


def any_capabilities_running(container: Container) -> Iterator[Violation]:
    """Demands that no capability set of any process has a member."""
    found: frozenset[str] = frozenset().union(*(process.capabilities for process in container.processes))
    yield from (Violation(f"has the capability {name}", of=name) for name in sorted(found))


def privileged_static(service: Service) -> Iterator[Violation]:
    """Demands an unprivileged container: a privileged one has all capabilities, all devices and no filter."""
    if service.config.get("privileged"):
        yield Violation("is privileged", ("privileged",))


def privileged_running(container: Container) -> Iterator[Violation]:
    """Demands that the engine has started the container unprivileged."""
    if container.host_config["Privileged"]:
        yield Violation("is privileged")


def allows_new_privileges_static(service: Service) -> Iterator[Violation]:
    """Demands ``no-new-privileges``: a set-uid program must not raise the privileges of a process."""
    if "no-new-privileges:true" not in service.config.get("security_opt", []):
        yield Violation("may gain privileges: security_opt must have no-new-privileges:true", ("security_opt",))


def allows_new_privileges_running(container: Container) -> Iterator[Violation]:
    """Demands the kernel's no_new_privs flag on every process."""
    if not all(process.no_new_privileges for process in container.processes):
        yield Violation("has a process that may gain privileges")


def unconfined_static(service: Service) -> Iterator[Violation]:
    """Demands the engine's seccomp, AppArmor, SELinux and path restrictions: they shield the kernel's interfaces."""
    for option in service.config.get("security_opt", []):
        if "unconfined" in option or option == "label:disable":
            yield Violation(f"disables a protection of the engine: {option}", ("security_opt",))


def unconfined_running(container: Container) -> Iterator[Violation]:
    """Demands a seccomp filter on every process, and masked and read-only paths in /proc."""
    if not all(process.seccomp_filtered for process in container.processes):
        yield Violation("has a process without a seccomp filter")
    if not container.host_config["MaskedPaths"] or not container.host_config["ReadonlyPaths"]:
        yield Violation("sees the unmasked /proc")


def shared_namespaces_static(service: Service) -> Iterator[Violation]:
    """Demands namespaces of the container's own: a shared one exposes processes, memory or network to it."""
    for key, values in PRIVATE_MODES.items():
        if key in service.config and service.config[key] not in values:
            yield Violation(f"shares a namespace: {key}: {service.config[key]}", (key,))


def shared_namespaces_running(container: Container) -> Iterator[Violation]:
    """Demands that neither kernel nor engine shows a shared namespace."""
    for kind in sorted(container.namespaces):
        yield Violation(f"shares the host's {kind} namespace")
    for mode in MODES:
        if re.fullmatch(r"host|container:.*", container.host_config.get(mode) or ""):
            yield Violation(f"shares a namespace: {mode} {container.host_config[mode]}")


def host_devices_static(service: Service) -> Iterator[Violation]:
    """Demands no host device: access to one bypasses the file system's permissions."""
    yield from (Violation(f"has access to host devices: {key}", (key,)) for key in DEVICES if service.config.get(key))


def host_devices_running(container: Container) -> Iterator[Violation]:
    """Demands that the engine has passed no device to the container."""
    yield from (
        Violation(f"has access to host devices: {key}") for key in DEVICES_RUNNING if container.host_config.get(key)
    )
