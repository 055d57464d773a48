"""The tasks of backups and restores: the commands of the service, the platform's files, the steps of a restore."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.toolkit.conftest import FakeDocker, configuration
from toolkit.checkout import backupkey
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.core import envfile
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding, Outcome, Report
from toolkit.engine import backup_service
from toolkit.engine.compose import Result
from toolkit.operate import lifecycle
from toolkit.operate.backup import archive, restore
from toolkit.operate.backup.backup import backup, status
from toolkit.operate.backup.restore import Options, parse_time
from toolkit.operate.backup.verify import verify

AT = "2026-11-30T14:05:00+00:00"
PLAN = {
    "at": AT, "backup": "b1", "chain": ["b0", "b1"], "wal_bytes": 16_000_000, "bytes": 99_000_000,
    "until": "2026-11-30T14:06:00+00:00",
}  # fmt: skip
DONE = {"id": "restore-1", "rows": {"public.targets": 3}, "last_commit": AT, "failures": [], "set_aside": "set-aside-1"}


def answer(result: Any) -> str:
    return f"2026-11-30T14:00:00Z working\n{json.dumps({'result': result})}\n"


@pytest.fixture(autouse=True)
def ready(project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set-up checkout with a target, whose service runs."""
    envfile.update(project.env_file, {"BACKUP_TARGET": "/mnt/backup"})
    setup(project, "dev", groups=["backup"])
    monkeypatch.setattr(backup_service, "is_running", lambda _: True)
    docker.on(
        "compose", "config", stdout={**configuration(), "volumes": {"postgres_data": {"name": "x_postgres_data"}}}
    )


def test_the_result_of_a_command_is_its_last_line(docker: FakeDocker, capsys: pytest.CaptureFixture[str]) -> None:
    docker.on("exec", "verify", stdout=answer("equal"))
    assert backup_service.call(docker.cli, "verify") == "equal"
    assert "  working" in capsys.readouterr().out


def test_an_error_of_the_service_is_shown_with_its_fix(docker: FakeDocker) -> None:
    error = {"error": {"what": "cannot take a backup", "why": "the target is read-only", "fix": "mount it writable"}}
    docker.on("exec", code=1, stdout=json.dumps(error) + "\n")
    with pytest.raises(ToolkitError) as raised:
        backup_service.call(docker.cli, "backup")
    assert (raised.value.what, raised.value.fix) == ("cannot take a backup", "mount it writable")


def test_a_command_that_is_killed_has_no_result(docker: FakeDocker) -> None:
    docker.on("exec", code=137, stdout="2026-11-30T14:00:00Z working\n", stderr="killed")
    with pytest.raises(ToolkitError, match="killed"):
        backup_service.call(docker.cli, "backup")


def test_a_service_that_does_not_run_is_named(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_service, "is_running", lambda _: False)
    with pytest.raises(ToolkitError, match="the service backup does not run"):
        backup_service.call(docker.cli, "backup")


def test_only_a_command_of_its_own_mounts_the_volume_of_the_database(docker: FakeDocker) -> None:
    docker.on("run", stdout=answer(PLAN))
    backup_service.run(docker.cli, "plan")
    [argv] = docker.ran("run")
    assert argv[argv.index("--volume") + 1] == "x_postgres_data:/restore"


def test_without_a_target_nothing_runs(project: Project, docker: FakeDocker) -> None:
    envfile.update(project.env_file, {"BACKUP_TARGET": ""})
    for call in (backup, status, verify):
        with pytest.raises(ToolkitError, match="BACKUP_TARGET is not set"):
            call(project, docker.cli)
    assert not docker.ran("exec")


# --- The platform's files ---------------------------------------------------------------------------------------------


def test_the_archive_has_what_only_this_host_has_but_not_the_key(project: Project, docker: FakeDocker) -> None:
    docker.on("ps", stdout="")
    (project.root / "docker-compose.override.yml").write_text("services: {}\n")
    (project.root / "secrets" / ".rotation").mkdir()
    (project.root / "secrets" / ".rotation" / "x").write_text("half")
    made = archive.make(project, docker.cli)
    assert {"checkout/.env", "checkout/docker-compose.override.yml", "checkout/secrets/api_token.txt"} <= {
        *made.members
    }
    assert not [name for name in made.members if "rotation" in name or name.endswith("backup/key")]
    assert backupkey.path_of(project).read_bytes().strip() not in made.content
    assert "checkout/docker-compose.yml" not in made.members


def test_a_secret_that_cannot_be_read_ends_the_backup(
    project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup without it would look whole."""
    docker.on("ps", stdout="")
    add = tarfile.TarFile.add

    def refuse(self: tarfile.TarFile, name: Any, *args: Any, **options: Any) -> None:
        if str(name).endswith("api_token.txt"):
            raise PermissionError(13, "Permission denied")
        add(self, name, *args, **options)

    monkeypatch.setattr(tarfile.TarFile, "add", refuse)
    with pytest.raises(ToolkitError, match=r"cannot read secrets/api_token\.txt") as error:
        backup(project, docker.cli)
    assert error.value.why == "Permission denied"
    assert not docker.ran("platform-put")


def test_content_that_cannot_be_included_is_reported(
    project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = type("State", (), {"service": "rabbitmq", "id": "r1", "status": "running"})
    monkeypatch.setattr(archive, "container_states", lambda _: [running])
    docker.on("exec", "r1", code=69, stderr="node is down")
    made = archive.make(project, docker.cli)
    assert made.missing == ("definitions/rabbitmq.json: node is down",)
    docker.on("exec", "r1", stdout='{"queues": []}')
    assert "definitions/rabbitmq.json" in archive.make(project, docker.cli).members


@pytest.mark.parametrize("filters", [True, False], ids=["filters", "Debian 12"])
def test_an_archive_is_extracted_into_a_new_private_folder(
    project: Project, docker: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filters: bool
) -> None:
    if not filters:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
        extract = tarfile.TarFile.extractall

        def without_filter(self: tarfile.TarFile, path: Path) -> None:
            extract(self, path)

        monkeypatch.setattr(tarfile.TarFile, "extractall", without_filter)
    docker.on("ps", stdout="")
    made = archive.make(project, docker.cli)
    target = tmp_path / "restored"
    archive.extract(made.content, target)
    assert (target / "checkout" / ".env").read_text() == project.env_file.read_text()
    assert target.stat().st_mode & 0o777 == 0o700
    with pytest.raises(ToolkitError, match="cannot create"):
        archive.extract(made.content, target)


@pytest.mark.parametrize("name", ["../evil", "/evil", "link"])
def test_an_archive_cannot_leave_its_folder(tmp_path: Path, name: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        entry = tarfile.TarInfo(name)
        if name == "link":
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        made.addfile(entry)
    with pytest.raises(ToolkitError, match="is invalid"):
        archive.extract(buffer.getvalue(), tmp_path / "restored")


def test_a_backup_has_the_platforms_files_and_the_database(
    project: Project, docker: FakeDocker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    docker.on("ps", stdout="")
    monkeypatch.setattr(archive, "commit", lambda _: "abc-dirty")
    docker.on("exec", "platform-put", stdout=answer("digest"))
    done = {"id": "b2", "kind": "full", "bytes": "7000000"}
    docker.on("exec", "backup", "--full", stdout=answer(done))
    backup(project, docker.cli, full=True)
    [put] = docker.ran("platform-put")
    assert "--commit=abc-dirty" in put
    content = base64.b64decode(docker.inputs[docker.calls.index(put)])
    with tarfile.open(fileobj=io.BytesIO(content)) as stored:
        assert "checkout/.env" in stored.getnames()
    output = capsys.readouterr().out
    assert "backup b2: full, 7 MB" in output
    assert backupkey.fingerprint(project) in output, "the copy of the key is not acknowledged"


def test_a_status_with_a_failure_fails(
    project: Project, docker: FakeDocker, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"backups": [{"id": "b1", "kind": "full", "ended": AT, "bytes": "5000000"}], "until": AT, "verified": 0,
             "platform": 0, "failed": {}}  # fmt: skip
    docker.on("exec", "status", stdout=answer(found))
    status(project, docker.cli)
    output = capsys.readouterr().out
    assert "restorable: 2026-11-30 14:05:00" in output
    assert backupkey.fingerprint(project) in output
    assert backupkey.path_of(project).read_text().strip() not in output
    assert "last verified restore: never" in output
    docker.on("exec", "status", stdout=answer({**found, "failed": {"transfer": "no space"}}))
    with pytest.raises(ToolkitError, match="transfer: no space"):
        status(project, docker.cli)


# --- Restore ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def steps(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps of a restore, in order; the stack is fake."""
    done: list[str] = []

    def step(name: str, stdout: str = "") -> Any:
        def run(_: list[str]) -> Result:
            done.append(name)
            return Result(0, stdout, "")

        return run

    monkeypatch.setattr(restore, "_prepare_host", lambda *_: None)
    monkeypatch.setattr(restore, "_running", lambda _, *names: list(names))
    monkeypatch.setattr(restore, "wait", lambda *_: None)
    monkeypatch.setattr(restore, "container_states", lambda _: [SimpleNamespace(service="worker")])
    monkeypatch.setattr(lifecycle, "start", lambda *_: done.append("start"))
    ok = Report("smoke checks", [Finding("api", Outcome.OK)])

    def smoke(*_: Any) -> Report:
        done.append("smoke")
        return ok

    monkeypatch.setattr(restore, "smoke", smoke)
    for words, name, stdout in (
        (("create",), "create", ""), (("stop",), "stop", ""), (("up", "db"), "database", ""),
        (("exec", "db", "psql"), "count", "public.targets|2\n"), (("exec", "db", "timeout"), "accepts", ""),
        (("exec", "db", "/opt/netmon/postgres-accounts.sh"), "accounts", ""),
        (("exec", "redis"), "flush", "OK\nOK\n"), (("exec", "worker"), "requeue", "3\n"),
        (("run", "plan"), "plan", answer(PLAN)),
        (("run", "prepare"), "prepare", answer(DONE)), (("run", "exchange"), "exchange", answer(DONE)),
    ):  # fmt: skip
        docker.answer(*words, by=step(name, stdout))
    return done


def test_a_restore_prepares_before_it_stops_anything(
    project: Project, docker: FakeDocker, steps: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    restore.restore(project, docker.cli, Options(10, at="2026-11-30 15:05:00+01:00", yes=True))
    assert steps == ["plan", "create", "prepare", "count", "stop", "stop", "exchange", "database", "accepts",
                     "accounts", "flush", "start", "requeue", "smoke"]  # fmt: skip
    assert all("--at=2026-11-30T15:05:00+01:00" in argv for argv in docker.ran("run", "prepare"))
    [flush] = docker.ran("exec", "redis")
    assert "FLUSHALL" in docker.inputs[docker.calls.index(flush)], "states of the former database"
    output = capsys.readouterr().out
    assert "the writes of 60 s since then are undone" in output
    assert "public.targets" in output
    assert "set aside as set-aside-1" in output
    assert "3 accepted probes are queued again" in output


def test_a_restore_continues_if_probes_are_not_queued_again(
    project: Project, docker: FakeDocker, steps: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    docker.on("exec", "worker", code=1, stderr="the queue is unavailable")
    restore.restore(project, docker.cli, Options(10, yes=True))
    assert steps[-2:] == ["start", "smoke"]
    assert (
        "accepted probes are not queued again, and end as failed: the queue is unavailable" in capsys.readouterr().out
    )


def test_a_dry_run_and_a_declined_restore_change_nothing(
    project: Project, docker: FakeDocker, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    restore.restore(project, docker.cli, Options(10, dry_run=True))
    with pytest.raises(ToolkitError, match="confirmation required"):
        restore.restore(project, docker.cli, Options(10))
    assert steps == ["plan", "plan"]


def test_a_restore_that_fails_stops_nothing(project: Project, docker: FakeDocker, steps: list[str]) -> None:
    error = {"error": {"what": "no backup is intact", "why": "", "fix": ""}}
    docker.on("compose", "run", "prepare", code=1, stdout=json.dumps(error))
    with pytest.raises(ToolkitError, match="no backup is intact"):
        restore.restore(project, docker.cli, Options(10, yes=True))
    assert "stop" not in steps


def test_redis_that_keeps_its_states_is_an_error(project: Project, docker: FakeDocker, steps: list[str]) -> None:
    docker.on("exec", "redis", stdout="WRONGPASS\nNOAUTH\n")
    with pytest.raises(ToolkitError, match="cannot drop the cached states"):
        restore.restore(project, docker.cli, Options(10, yes=True))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("exec", "db", "/opt/netmon/postgres-accounts.sh"), "set the passwords"),
        (("exec", "db", "timeout"), "wait for the database"),
        (("stop",), "stop the application"),
        (("create",), "create the volume"),
    ],
)
def test_a_failed_step_ends_the_restore(
    project: Project, docker: FakeDocker, steps: list[str], words: tuple[str, ...], message: str
) -> None:
    docker.on(*words, code=1, stderr="it failed")
    with pytest.raises(ToolkitError, match=message):
        restore.restore(project, docker.cli, Options(10, yes=True))
    assert "start" not in steps


def test_taking_over_is_only_done_on_request(project: Project, docker: FakeDocker, steps: list[str]) -> None:
    restore.restore(project, docker.cli, Options(10, yes=True))
    assert not docker.ran("--take-over")
    restore.restore(project, docker.cli, Options(10, yes=True, take_over=True))
    assert docker.ran("prepare", "--take-over")


def test_an_older_backup_that_was_used_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    done = {**DONE, "failures": ["snapshot abc is damaged"], "last_commit": AT}
    restore.report({"public.targets": 5}, done, datetime(2026, 11, 30, 14, 5, 7, 500000, tzinfo=UTC))
    output = capsys.readouterr().out
    assert "an older backup was used: snapshot abc is damaged" in output
    assert "7.5 s before the stop" in output


def test_times() -> None:
    assert parse_time("2026-11-30 14:05") == "2026-11-30T14:05:00+00:00"
    assert parse_time("") == ""
    with pytest.raises(ToolkitError, match="is not a time") as raised:
        parse_time("yesterday")
    assert raised.value.code == 2


# --- The key ----------------------------------------------------------------------------------------------------------


def test_a_key_is_created_with_a_target_and_never_replaced(project: Project) -> None:
    path = backupkey.path_of(project)
    key = path.read_text()
    assert len(key.strip()) >= 43
    setup(project, "dev")
    assert path.read_text() == key
    assert path.parent.stat().st_mode & 0o777 == 0o755
    assert path.stat().st_mode & 0o444 == 0o444
    first = backupkey.fingerprint(project)
    path.write_text("another\n")
    assert backupkey.fingerprint(project) != first


def test_without_a_target_there_is_no_key(tmp_path: Path, project: Project) -> None:
    backupkey.path_of(project).unlink()
    envfile.update(project.env_file, {"BACKUP_TARGET": ""})
    assert not backupkey.ensure(project)
    assert backupkey.fingerprint(project) == ""


def test_the_folder_of_a_local_target_is_mounted_and_no_other(project: Project) -> None:
    assert project.env["BACKUP_FOLDER"] == "/mnt/backup"
    envfile.update(project.env_file, {"BACKUP_TARGET": "sftp:a@b:/c"})
    setup(project, "dev")
    assert project.env["BACKUP_FOLDER"] == ""
