"""The disk of the volumes is watched with its real size; anything mounted over it is found."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

from tests.unit.toolkit.conftest import CHECKOUT, FakeDocker
from tests.unit.toolkit.programs import Programs, prometheus, stack
from toolkit.core import mounts
from toolkit.core.report import Finding, Outcome
from toolkit.engine.compose import Docker
from toolkit.observe import disks

MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:25 / /run rw - tmpfs tmpfs rw
40 22 254:16 / /srv rw - ext4 /dev/vdb rw
41 40 254:32 / /srv/docker rw - xfs /dev/vdc rw
42 40 254:48 / /srv/docker\\040data rw - ext4 /dev/vdd rw
43 22 254:64 / /mnt rw - ext4 /dev/vde rw
44 22 254:80 / /mnt rw - btrfs /dev/vdf rw
"""


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/var/lib/docker", ("/", "ext4")),
        ("/srv/docker", ("/srv/docker", "xfs")),
        ("/srv/docker/volumes", ("/srv/docker", "xfs")),
        ("/srv/dockers", ("/srv", "ext4")),
        ("/srv/docker data", ("/srv/docker data", "ext4")),
        ("/mnt/a", ("/mnt", "btrfs")),
        ("/run/docker", ("/run", "tmpfs")),
    ],
)
def test_the_mount_point_of_a_folder(
    folder: str, expected: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTS)
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "mountinfo")
    assert mounts.mount_of(Path(folder)) == expected


class Host:
    """A host whose engine's folder is a disk of its own, and what Prometheus has of it."""

    def __init__(self, docker: FakeDocker, folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str = "ext4") -> None:
        self.folder, self.programs = folder, Programs(docker)
        table = folder / "mountinfo"
        table.write_text(f"22 1 254:0 / / rw - ext4 /dev/vda rw\n23 22 0:1 / {folder} rw - {kind} /dev/vdb rw\n")
        monkeypatch.setattr(mounts, "MOUNTS", table)
        monkeypatch.setattr(Docker, "data_root", lambda _self: str(folder))
        space = os.statvfs(folder)
        self.size = space.f_blocks * space.f_frsize

    def check(self, services: tuple[str, ...] = ("prometheus", "node-exporter"), **sizes: float) -> Finding:
        found = [{"metric": {"mountpoint": str(self.folder)}, "value": [0, str(size)]} for size in sizes.values()]
        found.append({"metric": {"mountpoint": "/"}, "value": [0, str(self.size)]})
        self.programs.on("prometheus/api/v1/query", prometheus({"result": found}))
        [finding] = disks.check(stack(self.programs.docker, self.folder, *services))
        return finding


@pytest.fixture
def host(docker: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(docker, tmp_path, monkeypatch)


def test_a_disk_with_its_own_size_is_watched(host: Host) -> None:
    found = host.check(size=host.size)
    assert (found.outcome, found.subject) == (Outcome.OK, str(host.folder))


def test_a_mount_over_the_disk_is_found(host: Host) -> None:
    found = host.check(size=4096)
    assert found.outcome is Outcome.FAILED
    assert "reports 4096 bytes" in found.detail
    assert "mounted over it" in found.detail


def test_a_disk_that_is_not_reported_is_found(host: Host) -> None:
    found = host.check()
    assert (found.outcome, "does not report the disk" in found.detail) == (Outcome.FAILED, True)


def test_prometheus_that_does_not_answer_is_a_failure(host: Host) -> None:
    host.programs.on("prometheus/api/v1/query", 503)
    [found] = disks.check(stack(host.programs.docker, host.folder, "prometheus", "node-exporter"))
    assert found.outcome is Outcome.FAILED


@pytest.mark.parametrize("missing", ["prometheus", "node-exporter"])
def test_without_the_services_it_is_skipped(host: Host, missing: str) -> None:
    found = host.check(tuple({"prometheus", "node-exporter"} - {missing}))
    assert (found.outcome, found.detail) == (Outcome.SKIPPED, f"{missing} is disabled")


def test_an_engine_in_memory_or_elsewhere_is_skipped(
    docker: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Host(docker, tmp_path, monkeypatch, kind="tmpfs").check().outcome is Outcome.SKIPPED
    monkeypatch.setattr(Docker, "data_root", lambda _self: None)
    [found] = disks.check(stack(docker, tmp_path, "prometheus", "node-exporter"))
    assert found.outcome is Outcome.SKIPPED


def test_node_exporter_reports_disks_and_no_file_systems_of_programs() -> None:
    """One of FUSE may have no size, for which the smoke check would fail."""
    services = yaml.safe_load((CHECKOUT / "docker-compose.monitoring.yml").read_text(encoding="utf-8"))["services"]
    option = "--collector.filesystem.fs-types-exclude="
    [flag] = (each for each in services["node-exporter"]["command"] if each.startswith(option))
    excluded = re.compile(flag.removeprefix(option).replace("$$", "$"))
    kinds = ("ext4", "xfs", "btrfs", "zfs", "fuseblk", "overlay", "tmpfs", "ramfs", "fuse", "fuse.sshfs", "fusectl")
    reported = [kind for kind in kinds if not excluded.match(kind)]
    assert reported == ["ext4", "xfs", "btrfs", "zfs", "fuseblk"]
    assert not any(kind in reported for kind in disks.NOT_REPORTED)
