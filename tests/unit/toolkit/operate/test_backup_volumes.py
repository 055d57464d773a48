"""Files in volumes: copied with their owners, verified, and put back while their services are stopped."""

from __future__ import annotations

import io
import sqlite3
import subprocess
import tarfile
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.toolkit.conftest import CHECKOUT, FakeDocker
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Result
from toolkit.operate.backup import volumes
from toolkit.operate.backup.volumes import FILES, GRAFANA

PROXY = FILES[0]


def archive(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        entry = tarfile.TarInfo(name)
        entry.size, entry.uid, entry.mode = len(content), 472, 0o640
        made.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def writes(*contents: bytes) -> Callable[[list[str]], Result]:
    """Answers of `docker cp`, one after another."""
    pending = list(contents)

    def run(argv: list[str]) -> Result:
        Path(argv[-1]).write_bytes(pending.pop(0))
        return Result(0, "", "")

    return run


@pytest.fixture
def grafana(tmp_path: Path) -> bytes:
    """A database of Grafana."""
    path = tmp_path / "grafana.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE dashboard AS WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n "
                         "WHERE i < 5000) SELECT i, hex(randomblob(40)) AS text FROM n")  # fmt: skip
    database.close()
    return path.read_bytes()


def test_an_archive_is_copied_as_it_is(docker: FakeDocker) -> None:
    docker.answer("bash", by=writes(archive("caddy/x.key", b"k")))
    assert volumes.copy(docker.cli, PROXY, "c1") == archive("caddy/x.key", b"k")
    [argv] = docker.ran("bash")
    assert argv[-3:-1] == ["c1", "/data/caddy"]
    assert "pipefail" in argv


def test_a_copy_that_fails_has_a_reason(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    docker.on("bash", code=1, stderr="no such container")
    assert volumes.copy(docker.cli, PROXY, "c1") == "no such container"
    docker.answer("bash", by=writes(archive("caddy/x", b"")[:100]))
    monkeypatch.setattr(volumes, "ATTEMPTS", 1)
    assert "incomplete" in volumes.copy(docker.cli, PROXY, "c1")
    docker.answer("bash", by=writes(archive("caddy/x", b"x" * 9000)))
    monkeypatch.setattr(volumes, "LIMIT_BYTES", 8000)
    assert "larger than" in volumes.copy(docker.cli, PROXY, "c1")


def test_a_damaged_copy_of_grafanas_database_is_made_again(docker: FakeDocker, grafana: bytes) -> None:
    torn = archive("grafana.db", grafana[:-8192] + b"\0" * 8192)
    docker.answer("bash", by=writes(torn, archive("grafana.db", grafana)))
    assert volumes.copy(docker.cli, GRAFANA, "c1") == archive("grafana.db", grafana)
    docker.answer("bash", by=writes(torn, torn, torn))
    assert "the copy is damaged" in volumes.copy(docker.cli, GRAFANA, "c1")
    docker.answer("bash", by=writes(*[archive("grafana.db", b"no database, but long enough")] * 3))
    assert "the copy is damaged" in volumes.copy(docker.cli, GRAFANA, "c1")


def test_files_are_put_back_into_stopped_services(
    docker: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    states = [SimpleNamespace(service="proxy", id="p1"), SimpleNamespace(service="alertmanager", id="a1")]
    monkeypatch.setattr(volumes, "container_states", lambda _: states)
    docker.on("compose", "stop")
    docker.on("bash")
    (tmp_path / "volumes").mkdir()
    for files in FILES:
        (tmp_path / files.member).write_bytes(b"tar")
    volumes.put_back(docker.cli, tmp_path)
    order = [(argv[-1] if "stop" in argv else argv[-3]) for argv in docker.calls]
    assert order == ["proxy", "p1", "alertmanager", "a1"], "stopped first: it would overwrite them"
    assert docker.ran("bash")[1][-2:] == ["/alertmanager", str(tmp_path / "volumes/alertmanager.tar")]
    assert "--archive" in docker.ran("bash")[0][2], "with their owners"
    assert "grafana has no container" in capsys.readouterr().out
    docker.on("bash", code=1, stderr="read-only")
    with pytest.raises(ToolkitError, match=r"cannot put volumes/proxy\.tar back") as error:
        volumes.put_back(docker.cli, tmp_path)
    assert str(tmp_path) in error.value.fix


UNITS = CHECKOUT / "scripts" / "systemd"


@pytest.mark.parametrize("name", ["netmon-backup", "netmon-verify"])
def test_a_timer_runs_a_task_of_the_checkout(name: str, tmp_path: Path) -> None:
    unit = ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(UNITS / f"{name}@.service")
    program, task = unit["Service"]["ExecStart"].split()
    assert program == "%f/.venv/bin/invoke"
    assert unit["Service"]["WorkingDirectory"] == "%f"
    listed = subprocess.run(["invoke", "--list"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    # The default task of a collection has its name.
    assert f"\n  {task} " in listed or f" ({task}) " in listed
    timer = (UNITS / f"{name}@.timer").read_text()
    assert "Persistent=true" in timer
    assert "WantedBy=timers.target" in timer
