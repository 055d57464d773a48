"""The state of running containers, read from /proc and both versions of cgroup, and the list of exceptions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from toolkit.policy import exemptions, running
from toolkit.policy.exemptions import Exemption, InvalidPolicyError
from toolkit.policy.rule import Service, unexempted
from toolkit.policy.rules import RULES
from toolkit.policy.running import Container, Limits, inspect

STATUS = """Name:\tpython
PPid:\t7
Uid:\t10001\t10001\t10001\t10001
NoNewPrivs:\t1
Seccomp:\t2
CapInh:\t0000000000000000
CapPrm:\t0000000000000000
CapEff:\t0000000000000000
CapBnd:\t0000000000000000
CapAmb:\t0000000000000000
"""
MOUNTS = r"""30 20 0:61 / / ro,relatime - overlay overlay rw,lowerdir=/l
31 30 0:90 / /tmp rw,nosuid,nodev,noexec - tmpfs tmpfs rw,size=1m
32 30 254:0 /a /with\040space ro,relatime shared:7 - ext4 /dev/vda rw
"""
HEAD = "  sl  local_address rem_address   st tx_queue\n"
TCP = f"""{HEAD}   0: 00000000:0BB8 00000000:0000 0A 0
   1: 0B00007F:9823 00000000:0000 0A 0
   2: 0200580A:0BB8 0100580A:9000 01 0
"""
TCP6 = f"""{HEAD}   0: 00000000000000000000000000000000:2382 00000000000000000000000000000000:0000 0A 0
   1: 0000000000000000FFFF00000100007F:71A5 00000000000000000000000000000000:0000 0A 0
   2: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0
"""
UDP = f"""{HEAD}   0: 00000000:20FB 00000000:0000 07 0
   1: 00000000:C350 00000000:0000 07 0
"""


class Host:
    """The /proc and /sys/fs/cgroup of a host with one container, whose main process is 42."""

    def __init__(self, root: Path) -> None:
        self.proc, self.cgroups = root / "proc", root / "cgroup"
        self.write("sys/net/ipv4/ip_local_port_range", "32768\t60999\n")
        self.write("42/status", STATUS)
        self.write("42/mountinfo", MOUNTS)
        for name, text in (("tcp", TCP), ("tcp6", TCP6), ("udp", UDP)):
            self.write(f"42/net/{name}", text)
        for process in ("42", "self"):
            (self.proc / process / "ns").mkdir(parents=True)
            for kind in running.NAMESPACES:
                (self.proc / process / "ns" / kind).symlink_to(f"{kind}:[{process}]")

    def write(self, path: str, text: str) -> None:
        (self.proc / path).parent.mkdir(parents=True, exist_ok=True)
        (self.proc / path).write_text(text)

    def group(self, folder: str, **files: str) -> None:
        (self.cgroups / folder).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (self.cgroups / folder / name.replace("__", ".")).write_text(text + "\n")

    def inspect(self) -> Container:
        labels = {"com.docker.compose.service": "app"}
        return inspect({"State": {"Pid": 42}, "Config": {"Labels": labels}}, self.proc, self.cgroups)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with cgroup v2: one group for all controllers."""
    host = Host(tmp_path)
    host.write("42/cgroup", "0::/docker/abc\n")
    files = {"memory__max": "67108864", "cpu__max": "50000 100000", "pids__max": "20", "cgroup__procs": "42"}
    host.group("docker/abc", **files)
    return host


def test_state_of_a_container_is_read_from_the_kernel(host: Host) -> None:
    found = host.inspect()
    assert found.name == "app"
    assert found.limits == Limits(memory=67108864, cpus=0.5, pids=20)
    [process] = found.processes
    assert process.pid == 42
    assert process.users == {10001}
    assert not process.capabilities
    assert process.no_new_privileges
    assert process.seccomp_filtered
    assert [(mount.target, mount.writable, mount.shared) for mount in found.mounts] == [
        ("/", False, False), ("/tmp", True, False), ("/with space", False, True),
    ]  # fmt: skip
    assert found.namespaces == frozenset()
    # Without loopback sockets and the ephemeral ports of clients.
    assert found.listening == {"3000/tcp", "9090/tcp", "8443/udp"}


def test_unlimited_resources_are_none(host: Host) -> None:
    host.group("docker/abc", memory__max="max", cpu__max="max 100000", pids__max="max")
    assert host.inspect().limits == Limits(None, None, None)


def test_limits_are_read_from_cgroup_v1(host: Host) -> None:
    host.write("42/cgroup", "9:pids:/docker/abc\n4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n1:name=systemd:/x\n")
    host.group("pids/docker/abc", pids__max="20", cgroup__procs="42")
    host.group("memory/docker/abc", memory__limit_in_bytes="9223372036854771712")
    host.group("cpu/docker/abc", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert host.inspect().limits == Limits(memory=None, cpus=None, pids=20)


def test_processes_are_the_descendants_of_the_main_process_without_execs_and_exited_ones(host: Host) -> None:
    host.group("docker/abc", cgroup__procs="42\n43\n44\n45")
    host.write("44/status", STATUS)
    root = STATUS.replace("10001", "0").replace("PPid:\t7", "PPid:\t42")
    host.write("43/status", root.replace("CapEff:\t0000000000000000", "CapEff:\t0000000000202000"))
    found = host.inspect()
    assert [process.pid for process in found.processes] == [42, 43]
    assert found.processes[1].users == {0}
    assert found.processes[1].capabilities == {"NET_RAW", "SYS_ADMIN"}


def test_a_stopped_container_is_an_error(host: Host) -> None:
    (host.proc / "42" / "status").unlink()
    with pytest.raises(FileNotFoundError):
        host.inspect()


def test_a_namespace_shared_with_the_host_is_found(host: Host) -> None:
    (host.proc / "42" / "ns" / "pid").unlink()
    (host.proc / "42" / "ns" / "pid").symlink_to("pid:[self]")
    assert host.inspect().namespaces == {"pid"}


def test_namespaces_are_empty_where_the_kernel_denies_access(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> Path:
        raise PermissionError(path)

    monkeypatch.setattr(Path, "readlink", refused)
    assert host.inspect().namespaces == frozenset()


SERVICE: dict[str, Any] = {"image": "redis:8", "user": "0:0", "restart": "always", "cap_add": ["CAP_NET_RAW"]}


def test_an_exemption_covers_only_its_service_rule_and_object() -> None:
    def found(*exempt: Exemption) -> set[str]:
        service = Service("redis", SERVICE, Path("/"))
        return {rule.name for rule, _ in unexempted(RULES, service, exempt, hardened=False)}

    assert {"user", "default-capabilities"} <= found()
    assert "user" not in found(Exemption("redis", "user", "why"))
    assert "user" in found(Exemption("db", "user", "why"))
    assert "default-capabilities" in found(Exemption("redis", "default-capabilities", "why"))
    assert "default-capabilities" not in found(Exemption("redis", "default-capabilities", "why", "NET_RAW"))


@pytest.mark.parametrize(
    "text", ["", "exceptions: 1", "exceptions: [{service: a, rule: b, why: c}]", "exceptions: [", "exceptions: [a]"]
)
def test_an_invalid_policy_file_is_an_error_with_a_fix(tmp_path: Path, text: str) -> None:
    (tmp_path / exemptions.FILE).write_text(text)
    with pytest.raises(InvalidPolicyError) as raised:
        exemptions.load(tmp_path)
    assert raised.value.fix


def test_a_missing_policy_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidPolicyError, match="cannot read"):
        exemptions.load(tmp_path)
