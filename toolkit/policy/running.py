"""A running container as the kernel and the engine see it, whatever its configuration says.

The kernel is asked on this machine (/proc and /sys/fs/cgroup): nothing has to be in the container's image for it.
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
"""Those that no container shares with the host; the engine's default for the control groups' depends on the host."""
LISTENING, UNCONNECTED = "0A", "07"
"""States of a TCP and of a UDP socket in /proc."""
UNLIMITED = 1 << 62
"""What the first version of control groups shows where there is no limit of memory is larger."""

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Process:
    """What a process may do; ``capabilities`` are all that it has or could get."""

    pid: int
    users: frozenset[int]
    capabilities: frozenset[str]
    no_new_privileges: bool
    filtered: bool
    """Whether a seccomp filter is on."""


@dataclass(frozen=True)
class Mount:
    """A mount as the container's processes see it; ``shared`` with the host: what one mounts there the other sees."""

    target: str
    kind: str
    options: frozenset[str]
    shared: bool

    @property
    def writable(self) -> bool:
        """Whether files there can be changed."""
        return "rw" in self.options


@dataclass(frozen=True)
class Limits:
    """What the control groups grant: bytes, cores, processes; None where there is no limit."""

    memory: int | None
    cpus: float | None
    pids: int | None


@dataclass(frozen=True)
class Container:
    """A running container: ``engine`` is ``docker inspect``, the rest is the kernel's."""

    name: str
    """The service's."""
    engine: Mapping[str, Any]
    processes: tuple[Process, ...]
    mounts: tuple[Mount, ...]
    limits: Limits
    namespaces: frozenset[str]
    """Those that it shares with this host; empty where the kernel does not tell who is not root."""
    listening: frozenset[str]
    """``port/protocol`` of every socket that others can reach."""

    @property
    def host(self) -> Mapping[str, Any]:
        """What the engine was told about the container's place on the host."""
        told: Mapping[str, Any] = self.engine["HostConfig"]
        return told

    @property
    def tmpfs(self) -> Mapping[str, str]:
        """Where a tmpfs was asked for, and its options."""
        return {real(target): options for target, options in (self.host.get("Tmpfs") or {}).items()}

    @property
    def labels(self) -> Mapping[str, str]:
        """What Compose and the image have written on it."""
        return self.engine["Config"]["Labels"] or {}

    def targets(self, kind: str) -> dict[str, str]:
        """Where the engine has mounted something: what each ``volume`` is named, which path each ``bind`` shows."""
        source = "Name" if kind == "volume" else "Source"
        return {mount["Destination"]: mount[source] for mount in self.engine["Mounts"] if mount["Type"] == kind}


def look(engine: Mapping[str, Any], proc: Path = PROC, cgroups: Path = CGROUPS) -> Container:
    """Look at a running container.

    Args:
        engine: Its ``docker inspect``.
        proc: The process file system of the host that the engine runs on.
        cgroups: Where that host has its control groups.

    Raises:
        OSError: it does not run, or not on this host.
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
    """The folder of each controller; the second version of control groups has one for all of them."""
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
        """The first of these files that there is: each version of control groups has its own."""
        paths = (groups[controller] / name for name in names)
        return next((path.read_text().strip() for path in paths if path.exists()), "")

    cpu = read("cpu", "cpu.max")
    quota, period = cpu.split() if cpu else (read("cpu", "cpu.cfs_quota_us"), read("cpu", "cpu.cfs_period_us"))
    granted, every = number(quota), number(period)
    return Limits(
        memory=number(read("memory", "memory.max", "memory.limit_in_bytes")),
        cpus=granted / every if granted and every else None,
        pids=number(read("pids", "pids.max")),
    )


def _processes(proc: Path, groups: Mapping[str, Path], main: int) -> Iterator[Process]:
    """The main process and those below it: what the engine starts beside it is not what it will be at first."""
    statuses: dict[int, dict[str, str]] = {}
    for pid in {main, *map(int, (groups["pids"] / "cgroup.procs").read_text().split())}:
        try:
            lines = (proc / str(pid) / "status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            if pid == main:
                raise
            continue  # it has ended meanwhile
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
            filtered=status["Seccomp"] == "2",
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
    """TCP ports that are listened on, and UDP ports that are not those of a client."""
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


def real(path: str) -> str:
    """A path without the link that is in every image and on every host."""
    return re.sub("^/var/run(?=/|$)", "/run", path)


def address(text: str) -> IPv4Address | IPv6Address:
    """An address of /proc/net: words of 32 bits in hexadecimal, each in the order of this machine's bytes."""
    packed = b"".join(struct.pack("=I", int(text[at : at + 8], 16)) for at in range(0, len(text), 8))
    found = ip_address(socket.inet_ntop(socket.AF_INET6 if len(packed) == 16 else socket.AF_INET, packed))
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found
