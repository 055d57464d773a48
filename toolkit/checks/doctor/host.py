"""Checks of the host that the stack does not control: processor, isolation of containers, file system, firewall, clock.

What fails here is refused by `invoke up` before anything starts: see the table of docs/deployment.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from toolkit.checkout.project import Project
from toolkit.checks.doctor.subject import Subject
from toolkit.core import mounts
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding, Outcome
from toolkit.engine import shapes
from toolkit.engine.compose import Docker
from toolkit.engine.health import parse_time

ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
"""The processors for which every published image exists, with their names in image references."""

SELINUX = Path("/sys/fs/selinux/enforce")
PROCESSES = Path("/proc")
NFTABLES = Path("/etc/nftables.conf")
NFTABLES_UNITS = (
    Path("/etc/systemd/system/sysinit.target.wants/nftables.service"),
    Path("/etc/systemd/system/multi-user.target.wants/nftables.service"),
)

NETWORK_FILE_SYSTEMS = frozenset({
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs", "fuse.s3fs",
})  # fmt: skip
MEMORY_FILE_SYSTEMS = frozenset({"tmpfs", "ramfs"})
COPYING_FILE_SYSTEMS = frozenset({"btrfs", "zfs"})

FILES = 10_032
"""Open files that Redis needs for its 10000 clients; Kafka and PostgreSQL need fewer."""

MIB = 1024 * 1024
MEMORY = {True: 2200 * MIB, False: 1300 * MIB}
"""Bytes of memory without which the kernel OOM-kills services, with monitoring and without: what they take at rest,
1.6 GiB and 0.8 GiB, with the published images, and the host."""

CLOCK_DIFFERENCE = 5.0
"""Seconds between the clock of the engine and that of this machine which alerts and logs tolerate."""
CLOCK_BEHIND = 24 * 3600.0
"""Seconds by which a file of the checkout may be newer than the clock: copies keep times of other time zones."""

OWN_ENGINE = "use an engine that runs as root without userns-remap"


def processor(subject: Subject) -> Iterator[Finding]:
    """The published images exist for the engine's processor."""
    found = subject.docker.info().get("Architecture", "")
    if subject.docker.info().get("OSType", "linux") != "linux":
        yield Finding("processor", Outcome.FAILED, "the engine runs Windows containers", "switch to Linux containers")
    elif found and found not in ARCHITECTURES:
        what = f"the engine runs on {found}, for which not every image exists"
        yield Finding("processor", Outcome.FAILED, what, "use a host with an amd64 or arm64 processor")
    else:
        yield Finding("processor", Outcome.OK, ARCHITECTURES.get(found, found) or "unknown")


def selinux(subject: Subject) -> Iterator[Finding]:
    """SELinux does not keep the containers from the files of the checkout and of the host."""
    enforcing = _read(SELINUX).strip() == "1"
    if not enforcing:
        yield Finding("SELinux", Outcome.OK, "permissive" if SELINUX.exists() else "not in use")
    elif "selinux" in security_options(subject.docker.info()):
        what = (
            "SELinux is enforcing, and the engine confines containers with it: they cannot read the checkout, "
            "and the collector and the exporters cannot read the host's files"
        )
        fix = 'set "selinux-enabled": false in /etc/docker/daemon.json and restart the engine'
        yield Finding("SELinux", Outcome.FAILED, what, fix)
    else:
        yield Finding("SELinux", Outcome.OK, "enforcing, and the engine does not confine containers with it")


def security_options(info: shapes.Info) -> set[str]:
    """The names of the engine's security options, such as ``selinux``, ``rootless`` and ``userns``."""
    words = [word for option in info.get("SecurityOptions") or () for word in option.split(",")]
    return {word.removeprefix("name=") for word in words if word.startswith("name=")}


def user_namespace(subject: Subject) -> Iterator[Finding]:
    """Services that read the host's files as root are root on the host."""
    found = security_options(subject.docker.info()) & {"rootless", "userns"}
    if not found:
        yield Finding("user namespace", Outcome.OK, "containers run in that of the host")
        return
    name = "rootless" if "rootless" in found else "with userns-remap"
    problems = []
    if readers := host_readers(subject.configuration):
        what = f"the engine runs {name}: {' and '.join(readers)} cannot read the host's files as root"
        fix = f"{OWN_ENGINE}, or disable the group: invoke up --without=monitoring"
        problems.append(Finding("user namespace", Outcome.FAILED, what, fix))
    if "rootless" in found and (low := low_ports(subject.configuration)):
        what = f"the engine runs rootless: it cannot publish the ports {', '.join(map(str, low))}"
        fix = f"set PROXY_HTTP_PORT and PROXY_HTTPS_PORT in .env to ports from 1024, or {OWN_ENGINE}"
        problems.append(Finding("user namespace", Outcome.FAILED, what, fix))
    yield from problems or [Finding("user namespace", Outcome.OK, f"the engine runs {name}")]


def host_readers(config: shapes.Configuration) -> list[str]:
    """The services that run as root and mount files of the host."""
    return [
        name
        for name, service in config["services"].items()
        if service.get("user", "").split(":")[0] in {"0", "root"}
        and any(each["type"] == "bind" for each in service.get("volumes", []))
    ]


def low_ports(config: shapes.Configuration) -> list[int]:
    """The published ports that need a privilege."""
    published = [port.get("published", "") for each in config["services"].values() for port in each.get("ports", [])]
    return sorted({int(port) for port in published if port.isdigit() and 0 < int(port) < 1024})


def file_system(subject: Subject) -> Iterator[Finding]:
    """The engine's data is on a local file system, and no store has a volume on another."""
    root = subject.docker.info()["DockerRootDir"]
    kind = file_system_of(root)
    remote = [f"the volume {name}" for name, type_ in _volume_types(subject) if type_ in NETWORK_FILE_SYSTEMS]
    if kind in NETWORK_FILE_SYSTEMS:
        remote.insert(0, root)
    if remote:
        what = f"{' and '.join(remote)}: on a network file system, where locks and syncs of databases are not reliable"
        yield Finding("file system", Outcome.FAILED, what, "use a local disk: data-root in /etc/docker/daemon.json")
    elif kind in MEMORY_FILE_SYSTEMS:
        what = f"{root} is in memory ({kind}): all data is lost when the host restarts"
        yield Finding("file system", Outcome.WARNING, what, "use a disk: data-root in /etc/docker/daemon.json")
    elif kind in COPYING_FILE_SYSTEMS:
        yield Finding("file system", Outcome.OK, f"{kind}; it copies on write, which makes databases slower")
    else:
        yield Finding("file system", Outcome.OK, kind or "unknown: the engine's data is not on this machine")


def _volume_types(subject: Subject) -> Iterator[tuple[str, str]]:
    for name, volume in subject.configuration.get("volumes", {}).items():
        options = (volume or {}).get("driver_opts") or {}
        yield str((volume or {}).get("name", name)), str(options.get("type", "")).lower()


def file_system_of(folder: str) -> str:
    """The type of the file system that a folder is on; empty if the folder does not exist here."""
    path = Path(folder)
    return mounts.mount_of(path)[1] if path.exists() else ""


def open_files(_subject: Subject) -> Iterator[Finding]:
    """The engine gives its containers enough open files."""
    limit = engine_files_limit()
    if limit is None:
        yield Finding("open files", Outcome.SKIPPED, "the engine does not run on this machine")
    elif limit < FILES:
        what = f"the engine may open {limit} files, and so may each container: Redis needs {FILES} for its clients"
        fix = "run: systemctl edit docker, and set LimitNOFILE=1048576 below [Service]; then restart the engine"
        yield Finding("open files", Outcome.WARNING, what, fix)
    else:
        yield Finding("open files", Outcome.OK, f"{limit} for the engine")


def engine_files_limit() -> int | None:
    """The number of files that the engine may open; None if it does not run on this machine."""
    for process in PROCESSES.glob("[0-9]*"):
        if _read(process / "comm").strip() == "dockerd":
            for line in _read(process / "limits").splitlines():
                if line.startswith("Max open files"):
                    soft = line.removeprefix("Max open files").split()[0]
                    return int(soft) if soft.isdigit() else 2**63
    return None


def firewall(subject: Subject) -> Iterator[Finding]:
    """Nothing removes the engine's rules, with which containers reach each other and the world."""
    info = subject.docker.info()
    if info.get("IPv4Forwarding") is False:
        what = "the host does not forward IPv4 packets: containers reach nothing outside"
        yield Finding("firewall", Outcome.FAILED, what, "run: sysctl -w net.ipv4.ip_forward=1, and keep it in sysctl.d")
    elif "flush ruleset" in _read(NFTABLES) and any(unit.is_symlink() or unit.exists() for unit in NFTABLES_UNITS):
        what = f"{NFTABLES} begins with flush ruleset: a reload of nftables removes the rules of the engine"
        fix = "delete only your own tables there; after a reload restart the engine"
        yield Finding("firewall", Outcome.WARNING, what, fix)
    else:
        yield Finding("firewall", Outcome.OK, (info.get("FirewallBackend") or {}).get("Driver", "") or "iptables")


def time(subject: Subject) -> Iterator[Finding]:
    """The clocks of this machine and of the engine agree, and are not in the past."""
    now = datetime.now(UTC)
    newest = max((path.stat().st_mtime for path in subject.project.root.glob("*.yml")), default=0)
    engine = parse_time(subject.docker.info().get("SystemTime", ""))
    difference = abs((engine - now).total_seconds()) if engine else 0
    if newest - now.timestamp() > CLOCK_BEHIND:
        what = f"the clock is in the past ({now:%Y-%m-%d %H:%M} UTC): files of the checkout are newer"
        yield Finding("time", Outcome.FAILED, what, "set the clock: timedatectl set-ntp true")
    elif difference > CLOCK_DIFFERENCE:
        what = f"the clocks of the engine and of this machine differ by {difference:.0f} s"
        yield Finding("time", Outcome.WARNING, what, "synchronise both; Docker Desktop does so when it is restarted")
    else:
        yield Finding("time", Outcome.OK, f"{now:%Y-%m-%d %H:%M} UTC")


def minimum_memory(subject: Subject) -> Iterator[Finding]:
    """The host has the memory that the services take at rest."""
    total = subject.docker.info()["MemTotal"]
    monitored = "prometheus" in subject.configuration["services"]
    if total < MEMORY[monitored]:
        what = f"{total / MIB:.0f} MiB of memory, but the stack needs {MEMORY[monitored] / MIB:.0f} MiB"
        fix = "add memory" + (", or disable a group: invoke up --without=monitoring" if total >= MEMORY[False] else "")
        yield Finding("minimum memory", Outcome.FAILED, what, fix)
    else:
        yield Finding("minimum memory", Outcome.OK, f"{total / MIB:.0f} MiB")


def _read(path: Path) -> str:
    """The text of a file; empty if it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


CHECKS: Sequence[Callable[[Subject], Iterator[Finding]]] = (
    processor, selinux, user_namespace, file_system, open_files, firewall, time, minimum_memory,
)  # fmt: skip


def require_supported_host(project: Project, docker: Docker) -> None:
    """Return if the stack can run on this host.

    Raises:
        ToolkitError: it cannot; the message names the property of the host.
    """
    subject = Subject(project, docker)
    for check in CHECKS:
        if failed := next((each for each in check(subject) if each.outcome is Outcome.FAILED), None):
            raise ToolkitError(f"this host is not supported ({failed.check})", failed.detail, failed.fix)
