"""A running container's actual state, read from kernel and engine instead of its configuration.

The kernel's state comes from this host's /proc and /sys/fs/cgroup, so the container's image needs no tools.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

# By number, as in linux/capability.h.
CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
NAMESPACES = ("ipc", "mnt", "net", "pid", "uts")
"""Namespaces that no container shares with the host by default; the default for ``cgroup`` depends on the host."""
LISTENING, UNCONNECTED = "0A", "07"
"""Socket states in /proc/net: of a TCP and of a UDP server."""
UNLIMITED = 1 << 62
"""Bytes; cgroup v1 reports a larger number where there is no memory limit."""

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Process:
    """The privileges of a process; ``capabilities`` is the union of its five capability sets."""

    pid: int
    users: frozenset[int]
    capabilities: frozenset[str]
    no_new_privileges: bool
    seccomp_filtered: bool
    """Whether a seccomp filter is active."""


@dataclass(frozen=True)
class Mount:
    """A mount in the container's mount namespace; ``shared``: mount events propagate to and from the host."""

    target: str
    kind: str
    options: frozenset[str]
    shared: bool

    @property
    def writable(self) -> bool:
        """Whether it is mounted read-write."""
        return "rw" in self.options


@dataclass(frozen=True)
class Limits:
    """Control group limits: memory in bytes, CPU in cores, number of processes; None means unlimited."""

    memory: int | None
    cpus: float | None
    pids: int | None


@dataclass(frozen=True)
class Container:
    """A running container: ``engine`` is its ``docker inspect``, the other attributes come from the kernel."""

    name: str
    """The service's name."""
    engine: Mapping[str, Any]
    processes: tuple[Process, ...]
    mounts: tuple[Mount, ...]
    limits: Limits
    namespaces: frozenset[str]
    """The kinds of namespaces shared with this host; empty if the kernel denies access (non-root)."""
    listening: frozenset[str]
    """``port/protocol`` of every socket on a non-loopback address."""

    @property
    def host_config(self) -> Mapping[str, Any]:
        """The engine's ``HostConfig``."""
        found: Mapping[str, Any] = self.engine["HostConfig"]
        return found

    @property
    def tmpfs(self) -> Mapping[str, str]:
        """The options of each requested tmpfs, by its target."""
        return {canonical(target): options for target, options in (self.host_config.get("Tmpfs") or {}).items()}

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels, from Compose and from the image."""
        return self.engine["Config"]["Labels"] or {}

    def targets(self, kind: str) -> dict[str, str]:
        """The name of each ``volume`` or the host path of each ``bind`` mount, by its target."""
        source = "Name" if kind == "volume" else "Source"
        return {mount["Destination"]: mount[source] for mount in self.engine["Mounts"] if mount["Type"] == kind}


def inspect(engine: Mapping[str, Any], proc: Path = PROC, cgroups: Path = CGROUPS) -> Container:
    """Read the state of a running container.

    Args:
        engine: Its ``docker inspect``.
        proc: The /proc of the engine's host.
        cgroups: The control group file system of that host.

    Raises:
        OSError: the container does not run, or runs on another host.
    """
    main = int(engine["State"]["Pid"])
    groups = _groups(proc / str(main), cgroups)
    return Container(
        name=(engine["Config"]["Labels"] or {}).get("com.docker.compose.service", ""),
        engine=engine,
        processes=tuple(_processes(proc, groups, main)),
        mounts=tuple(_mounts((proc / str(main) / "mountinfo").read_text())),
        limits=_limits(groups),
        namespaces=frozenset(_namespaces(proc, main)),
        listening=frozenset(_listening(proc / str(main) / "net", proc)),
    )


def _groups(process: Path, cgroups: Path) -> dict[str, Path]:
    """The folder of each controller; cgroup v2 has one for all controllers."""
    found: dict[str, Path] = {}
    for line in (process / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = cgroups / controller / path.lstrip("/")
    if set(found) == {""}:
        return dict.fromkeys(("memory", "cpu", "pids"), found[""])
    return found


def _limits(groups: Mapping[str, Path]) -> Limits:
    def number(text: str) -> int | None:
        return int(text) if text.lstrip("-").isdigit() and 0 < int(text) < UNLIMITED else None

    def read(controller: str, *names: str) -> str:
        """The text of the first existing file: the versions of cgroup name them differently."""
        paths = (groups[controller] / name for name in names)
        return next((path.read_text().strip() for path in paths if path.exists()), "")

    cpu = read("cpu", "cpu.max")
    quota, period = cpu.split() if cpu else (read("cpu", "cpu.cfs_quota_us"), read("cpu", "cpu.cfs_period_us"))
    quota_us, period_us = number(quota), number(period)
    return Limits(
        memory=number(read("memory", "memory.max", "memory.limit_in_bytes")),
        cpus=quota_us / period_us if quota_us and period_us else None,
        pids=number(read("pids", "pids.max")),
    )


def _processes(proc: Path, groups: Mapping[str, Path], main: int) -> Iterator[Process]:
    """The main process and its descendants; processes that the engine starts beside them (exec) change at first."""
    statuses: dict[int, dict[str, str]] = {}
    for pid in {main, *map(int, (groups["pids"] / "cgroup.procs").read_text().split())}:
        try:
            lines = (proc / str(pid) / "status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            if pid == main:
                raise
            continue  # exited meanwhile
        statuses[pid] = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    own = [main]
    for parent in own:
        own += [pid for pid, status in statuses.items() if int(status["PPid"]) == parent]
    for pid in own:
        status = statuses[pid]
        yield Process(
            pid=pid,
            users=frozenset(map(int, status["Uid"].split())),
            capabilities=frozenset(_capabilities([int(status[name], 16) for name in SETS])),
            no_new_privileges=status["NoNewPrivs"] == "1",
            seccomp_filtered=status["Seccomp"] == "2",
        )


def _capabilities(sets: list[int]) -> Iterator[str]:
    for number in range(64):
        if any(each >> number & 1 for each in sets):
            yield CAPABILITIES[number] if number < len(CAPABILITIES) else f"number {number}"


def _mounts(text: str) -> Iterator[Mount]:
    for line in text.splitlines():
        before, after = line.split(" - ", 1)
        target, options, *marks = before.split()[4:]
        plain = target.encode().decode("unicode_escape")  # a space in a path is \040
        shared = any(mark.startswith("shared:") for mark in marks)
        yield Mount(plain, after.split()[0], frozenset(options.split(",")), shared)


def _namespaces(proc: Path, pid: int) -> Iterator[str]:
    for kind in NAMESPACES:
        try:
            theirs, ours = ((proc / process / "ns" / kind).readlink() for process in (str(pid), "self"))
        except PermissionError:
            return
        if theirs == ours:
            yield kind


def _listening(net: Path, proc: Path) -> Iterator[str]:
    """Listening TCP ports, and bound UDP ports outside the range of clients."""
    low, high = map(int, (proc / "sys/net/ipv4/ip_local_port_range").read_text().split())
    for name in ("tcp", "tcp6", "udp", "udp6"):
        protocol = name.rstrip("6")
        path = net / name
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            local, state = line.split()[1], line.split()[3]
            host, port = local.split(":")
            number = int(port, 16)
            if state != (LISTENING if protocol == "tcp" else UNCONNECTED) or address(host).is_loopback:
                continue
            if protocol == "tcp" or not low <= number <= high:
                yield f"{number}/{protocol}"


def canonical(path: str) -> str:
    """A path with the standard link /var/run resolved."""
    return re.sub("^/var/run(?=/|$)", "/run", path)


def address(text: str) -> IPv4Address | IPv6Address:
    """Parse an address of /proc/net: 32-bit words in hexadecimal, each in host byte order."""
    packed = b"".join(struct.pack("=I", int(text[at : at + 8], 16)) for at in range(0, len(text), 8))
    found = ip_address(socket.inet_ntop(socket.AF_INET6 if len(packed) == 16 else socket.AF_INET, packed))
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found
