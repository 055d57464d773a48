"""The doctor's checks of the host, and what `invoke up` refuses before anything starts."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.unit.toolkit.conftest import CHECKOUT, INFO, FakeDocker, configuration
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.checks.doctor import host
from toolkit.checks.doctor.host import require_supported_host
from toolkit.checks.doctor.subject import Subject
from toolkit.core import mounts
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding, Outcome

COLLECTOR: dict[str, Any] = {
    "image": "c:1",
    "user": "0:0",
    "volumes": [{"type": "bind", "source": "/x", "target": "/y"}],
}
MONITORED: dict[str, Any] = {
    "db": {"image": "d:1", "user": "999:999"},
    "otel-collector": COLLECTOR,
    "prometheus": {"image": "p:1"},
}
CORE: dict[str, Any] = {"db": {"image": "d:1", "user": "999:999", "volumes": COLLECTOR["volumes"]}}


class Host:
    """A host whose files are in a folder of the test, and its engine."""

    def __init__(self, project: Project, docker: FakeDocker, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project, self.docker, self.folder = project, docker, folder
        for name in ("SELINUX", "NFTABLES", "PROCESSES"):
            monkeypatch.setattr(host, name, folder / name.lower())
        monkeypatch.setattr(mounts, "MOUNTS", folder / "mounts")
        monkeypatch.setattr(host, "NFTABLES_UNITS", (folder / "unit",))
        (folder / "processes").mkdir()
        self.write("mounts", "22 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n")
        self.has(**MONITORED)
        self.engine()

    def write(self, name: str, text: str) -> None:
        """Write a file of the host."""
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)

    def has(self, volumes: dict[str, Any] | None = None, **services: Any) -> None:
        """Set the services and volumes of the stack."""
        self.docker.on("compose", "config", stdout={**configuration(**services), "volumes": volumes or {}})

    def engine(self, **facts: Any) -> None:
        """Set what the engine reports."""
        now = datetime.now(UTC).isoformat()
        facts = {"Architecture": "x86_64", "OSType": "linux", "SystemTime": now, "IPv4Forwarding": True, **facts}
        self.docker.on("info", stdout={**INFO, **facts})

    def problem(self) -> Finding | None:
        """The only finding that is not ok, of all checks."""
        subject = Subject(self.project, self.docker.cli)
        found = [each for check in host.CHECKS for each in check(subject)]
        bad = [each for each in found if each.outcome not in {Outcome.OK, Outcome.SKIPPED}]
        assert len(bad) < 2, bad
        return bad[0] if bad else None

    def refusal(self) -> str:
        """The error of `invoke up`; empty if it starts."""
        try:
            require_supported_host(self.project, self.docker.cli)
        except ToolkitError as error:
            return f"{error.what}: {error.why}" if error.fix else "without a fix"
        return ""


@pytest.fixture
def machine(project: Project, docker: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A suitable host."""
    setup(project, "dev", images="local")
    folder = tmp_path / "host"
    folder.mkdir()
    return Host(project, docker, folder, monkeypatch)


def test_suitable_host_is_accepted(machine: Host) -> None:
    assert machine.problem() is None
    assert machine.refusal() == ""


@pytest.mark.parametrize(
    ("facts", "words"),
    [({"Architecture": "riscv64"}, "riscv64"), ({"Architecture": "armv7l"}, "armv7l"),
     ({"OSType": "windows"}, "Windows containers"), ({"IPv4Forwarding": False}, "does not forward"),
     ({"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"]}, "rootless: otel-collector"),
     ({"SecurityOptions": ["name=userns,profile=x"]}, "userns-remap: otel-collector"),
     ({"MemTotal": 2_000_000_000}, "1907 MiB of memory")],
)  # fmt: skip
def test_engine_that_cannot_run_the_stack_is_refused(machine: Host, facts: dict[str, Any], words: str) -> None:
    machine.engine(**facts)
    found = machine.problem()
    assert found is not None
    assert found.outcome is Outcome.FAILED
    assert words in found.detail
    assert words in machine.refusal()
    assert found.check in machine.refusal()


@pytest.mark.parametrize(
    "facts",
    [{"Architecture": "aarch64"}, {"SecurityOptions": ["name=apparmor", "name=cgroupns"]}, {"CgroupVersion": "1"},
     {"FirewallBackend": {"Driver": "nftables"}}, {"LoggingDriver": "journald"}, {"SecurityOptions": None}],
)  # fmt: skip
def test_other_engines_are_accepted(machine: Host, facts: dict[str, Any]) -> None:
    machine.engine(**facts)
    assert machine.problem() is None
    assert machine.refusal() == ""


@pytest.mark.parametrize("option", ["rootless", "userns"])
def test_user_namespace_is_accepted_without_monitoring(machine: Host, option: str) -> None:
    machine.has(**CORE)
    machine.engine(SecurityOptions=[f"name={option}"])
    assert machine.problem() is None


def test_rootless_engine_cannot_publish_low_ports(machine: Host) -> None:
    ports = [{"published": "443", "target": 8443, "protocol": "tcp"}, {"published": "8080", "target": 1}]
    machine.has(proxy={"image": "c:1", "user": "65534:65534", "ports": ports})
    machine.engine(SecurityOptions=["name=userns"])
    assert machine.problem() is None
    machine.engine(SecurityOptions=["name=rootless"])
    assert "the ports 443" in machine.refusal()


def test_two_gigabytes_are_enough_without_monitoring(machine: Host) -> None:
    machine.engine(MemTotal=2_000_000_000)
    assert "--without=monitoring" in getattr(machine.problem(), "fix", "")
    machine.has(**CORE)
    assert machine.problem() is None
    machine.engine(MemTotal=1_000_000_000)
    assert "--without" not in getattr(machine.problem(), "fix", "")


@pytest.mark.parametrize(
    ("enforce", "confined", "refused"),
    [("1", True, True), ("1", False, False), ("0", True, False), (None, True, False)],
)
def test_enforcing_selinux_is_refused_if_the_engine_uses_it(
    machine: Host, enforce: str | None, confined: bool, refused: bool
) -> None:
    if enforce:
        machine.write("selinux", enforce)
    machine.engine(SecurityOptions=["name=selinux"] if confined else [])
    assert ("SELinux is enforcing" in machine.refusal()) is refused


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [("ext4", None), ("xfs", None), ("btrfs", None), ("zfs", None), ("overlay", None), ("tmpfs", Outcome.WARNING),
     ("nfs4", Outcome.FAILED), ("cifs", Outcome.FAILED), ("9p", Outcome.FAILED)],
)  # fmt: skip
@pytest.mark.parametrize("order", [True, False])
def test_file_system_of_the_engine(machine: Host, kind: str, outcome: Outcome | None, order: bool) -> None:
    data = machine.folder / "my data"
    data.mkdir()
    point = str(data).replace(" ", "\\040")
    mounts = [
        "22 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n",
        f"30 22 0:50 / {point} rw,noatime shared:2 master:1 - {kind} source rw\n",
    ]
    machine.write("mounts", "".join(mounts if order else reversed(mounts)))
    machine.engine(DockerRootDir=str(data))
    assert getattr(machine.problem(), "outcome", None) is outcome
    assert ("network file system" in machine.refusal()) is (outcome is Outcome.FAILED)
    machine.engine(DockerRootDir=str(machine.folder))
    assert machine.problem() is None, "the file system of the folder itself counts"


def test_volume_on_a_network_file_system_is_refused(machine: Host) -> None:
    options = {"type": "nfs", "o": "addr=192.0.2.1", "device": ":/data"}
    machine.has({"postgres_data": {"name": "netmon_postgres_data", "driver_opts": options}}, **CORE)
    assert "the volume netmon_postgres_data" in machine.refusal()


@pytest.mark.parametrize(("limit", "warned"), [("1024", True), ("10032", False), ("unlimited", False)])
def test_few_open_files_of_the_engine_are_a_warning(machine: Host, limit: str, warned: bool) -> None:
    machine.write("processes/12/comm", "containerd\n")
    machine.write("processes/34/comm", "dockerd\n")
    machine.write("processes/34/limits", f"Limit  Soft  Hard\nMax open files            {limit}    524288   files\n")
    found = machine.problem()
    assert (found is not None) is warned
    assert machine.refusal() == "", "Redis accepts fewer clients, but works"
    if found:
        assert "LimitNOFILE" in found.fix


@pytest.mark.parametrize(
    ("text", "enabled", "warned"),
    [("flush ruleset\n", True, True), ("flush ruleset", False, False), ("table inet own {}", True, False)],
)
def test_nftables_that_flushes_all_rules_is_a_warning(machine: Host, text: str, enabled: bool, warned: bool) -> None:
    machine.write("nftables", text)
    if enabled:
        machine.write("unit", "")
    assert (machine.problem() is not None) is warned


def test_clock_in_the_past_is_refused(machine: Host) -> None:
    later = (datetime.now(UTC) + timedelta(days=2)).timestamp()
    os.utime(machine.project.root / "docker-compose.yml", (later, later))
    assert "the clock is in the past" in machine.refusal()


def test_clock_of_the_engine_that_differs_is_a_warning(machine: Host) -> None:
    machine.engine(SystemTime=(datetime.now(UTC) - timedelta(seconds=40)).isoformat())
    found = machine.problem()
    assert found is not None
    assert (found.check, found.outcome) == ("time", Outcome.WARNING)


def test_every_check_is_in_the_table_of_hosts() -> None:
    text = (CHECKOUT / "docs" / "deployment.md").read_text()
    table = text.partition("## Hosts")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    for check in host.CHECKS:
        name = check.__name__.replace("_", " ").replace("selinux", "SELinux")
        assert any(f"`{name}`" in row for row in rows), name
