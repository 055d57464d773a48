"""Backups: full or incremental, verified before they are stored, and nothing left of a failed one."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from netmon_backup import backups, commands, content, metrics, service, state, verify, wal
from netmon_backup.catalog import Backup, Catalog
from netmon_backup.commands import Result
from netmon_backup.content import Table
from netmon_backup.errors import BackupError, DamagedError, UnavailableError
from netmon_backup.postgres import Database, Manifest, lsn, segment
from netmon_backup.repository import Repository
from netmon_backup.settings import Settings
from tests.unit.backup.conftest import SYSTEM, Programs, snapshot, summary

MANIFEST = {
    "System-Identifier": int(SYSTEM),
    "Files": [{"Path": "PG_VERSION", "Size": 3}],
    "WAL-Ranges": [{"Timeline": 1, "Start-LSN": "0/5000028", "End-LSN": "0/5000120"}],
}


@pytest.fixture
def database(settings: Settings, programs: Programs) -> Database:
    """A database of 1 MB, whose backup has one file and a manifest."""

    def copy(argv: list[str]) -> Result:
        folder = Path(next(each for each in argv if each.startswith("--pgdata=")).partition("=")[2])
        folder.mkdir()
        (folder / "PG_VERSION").write_text("18\n")
        (folder / "backup_manifest").write_text(json.dumps(MANIFEST))
        return Result(0, "", "")

    programs.on("IDENTIFY_SYSTEM", stdout=f"{SYSTEM}\t1\t0/5000000\t\n")
    programs.on("pg_database_size", stdout="1000000\n")
    programs.on("pg_current_wal_flush_lsn", stdout="0/6000000\n")
    programs.on("pg_stat_replication", stdout="0/6000000\n")
    programs.answer("pg_basebackup", by=copy)
    return Database(settings)


@pytest.fixture
def repository(settings: Settings, programs: Programs) -> Repository:
    """A repository that has what is stored in it."""
    found = Repository(settings, state.load(settings.data).owner)
    stored: list[dict[str, Any]] = [
        snapshot("c", kind="claim", owner=found.owner, host="one", project="p", made="2026-11-01T00:00:00+00:00")
    ]

    def store(argv: list[str]) -> Result:
        tags = [each.removeprefix("--tag=") for each in argv if each.startswith("--tag=")]
        stored.append({"id": f"s{len(stored)}", "tags": tags})
        return Result(0, summary(stored[-1]["id"]), "")

    def forget(argv: list[str]) -> Result:
        stored[:] = [each for each in stored if each["id"] not in argv]
        return Result(0, "", "")

    programs.answer("snapshots", by=lambda _: Result(0, json.dumps(stored), ""))
    programs.answer("restic", "backup", by=store)
    programs.answer("forget", by=forget)
    return found


@pytest.fixture
def take(settings: Settings, database: Database, repository: Repository) -> Callable[..., Backup]:
    return lambda **options: backups.take(settings, database, repository, **options)


def test_the_first_backup_is_full_and_the_next_one_continues_it(
    take: Callable[..., Backup], programs: Programs, settings: Settings, repository: Repository
) -> None:
    first = take()
    assert (first.kind, first.first_segment, first.system) == ("full", "000000010000000000000005", SYSTEM)
    programs.calls.clear()
    second = replace(take(), snapshot="")
    [copied] = programs.ran("pg_basebackup")
    assert f"--incremental={settings.manifests / first.id}" in copied
    assert second.kind == "incremental"
    assert second.parent == first.id
    assert take(full=True).kind == "full"


def test_a_backup_includes_the_wal_that_makes_it_consistent(take: Callable[..., Backup], programs: Programs) -> None:
    take()
    assert "--wal-method=stream" in programs.ran("pg_basebackup")[0]
    assert not any("--no-parse-wal" in argv for argv in programs.ran("pg_verifybackup"))


def test_a_backup_is_verified_before_it_is_stored(
    take: Callable[..., Backup], programs: Programs, settings: Settings
) -> None:
    programs.on("pg_verifybackup", code=1, stderr="checksum mismatch")
    with pytest.raises(DamagedError, match="checksum mismatch"):
        take()
    assert not programs.ran("restic", "backup")
    assert "checksum mismatch" in state.load(settings.data).failed["backup"]
    assert not settings.staging.exists()
    assert not settings.manifests.exists(), "the next backup is not based on it"


def test_a_failed_copy_leaves_nothing(take: Callable[..., Backup], programs: Programs, settings: Settings) -> None:
    programs.on("pg_basebackup", code=1, stderr="could not write file: No space left on device")
    with pytest.raises(BackupError, match="the volume backup_data is full"):
        take()
    assert not programs.ran("restic", "backup")
    assert not settings.staging.exists()
    assert not state.load(settings.data).backup


def test_a_full_backup_replaces_an_incremental_one_that_is_not_possible(
    take: Callable[..., Backup], programs: Programs
) -> None:
    take()
    refused = "ERROR:  WAL summaries are required on timeline 1 from 0/5000028, but are incomplete"
    programs.on("pg_basebackup", "--incremental", code=1, stderr=refused)
    assert take().kind == "full"


def test_a_failure_is_recorded_until_the_next_success(
    take: Callable[..., Backup], programs: Programs, settings: Settings
) -> None:
    state.update(settings.data, failed={"backup": "x", "gap": "y"})
    take()
    assert not state.load(settings.data).failed


def test_too_little_space_is_an_error_before_the_copy(take: Callable[..., Backup], programs: Programs) -> None:
    programs.on("pg_database_size", stdout=str(10**15))
    with pytest.raises(BackupError, match="too little disk space"):
        take()
    assert not programs.ran("pg_basebackup")


@pytest.mark.parametrize(
    "reason", ["another system", "a week ago", "no manifest", "a gap", "a chain without its parent"]
)
def test_a_full_backup_is_due(settings: Settings, reason: str) -> None:
    now = datetime.now(UTC)
    ended = now - timedelta(days=8 if reason == "a week ago" else 1)
    parent = "lost" if reason == "a chain without its parent" else ""
    last = Backup("s", "b", "incremental" if parent else "full", parent, SYSTEM, "0" * 24, ended, ended, 1)
    settings.manifests.mkdir(parents=True)
    if reason != "no manifest":
        (settings.manifests / "b").touch()
    if reason == "a gap":
        state.update(settings.data, failed={"gap": "x"})
    system = "other" if reason == "another system" else SYSTEM
    assert backups.choose_parent(settings, Catalog((last,)), system, now) is None


def test_an_incremental_backup_is_due_otherwise(settings: Settings) -> None:
    now = datetime.now(UTC)
    last = Backup("s", "b", "full", "", SYSTEM, "0" * 24, now, now - timedelta(days=6), 1)
    settings.manifests.mkdir(parents=True)
    (settings.manifests / "b").touch()
    assert backups.choose_parent(settings, Catalog((last,)), SYSTEM, now) == last


# --- WAL --------------------------------------------------------------------------------------------------------------


def received(settings: Settings, *names: str) -> Path:
    folder = settings.wal / SYSTEM
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_a_transfer_is_recorded_only_if_what_is_committed_was_received(
    settings: Settings, database: Database, repository: Repository, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal, "RECEIVED_SECONDS", 0.3)
    received(settings, segment(1, "0/5000000") + ".partial")
    for behind in ("0/5000000\n", ""):
        programs.on("pg_stat_replication", stdout=behind)
        with pytest.raises(BackupError, match="WAL is not received"):
            wal.transfer(settings, database, repository)
    assert state.load(settings.data).wal_stored == 0
    programs.on("pg_stat_replication", stdout="0/6000000\n")
    wal.transfer(settings, database, repository)
    assert state.load(settings.data).wal_stored > 0


@pytest.mark.parametrize("status", ["lost", "reserved"])
def test_a_lost_slot_requires_a_full_backup(
    settings: Settings, database: Database, programs: Programs, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    """The server has removed WAL that was not received: what was received before cannot be continued."""
    folder = received(settings, segment(1, "0/5000000"))
    programs.on("pg_replication_slots", stdout=f"{status}\n")
    receiver = wal.Receiver(settings, database)

    def start(*_: Any, **__: Any) -> Any:
        receiver.stopping.set()
        return type("Process", (), {"communicate": lambda _: (b"", b""), "poll": lambda _: 0})()

    monkeypatch.setattr(commands, "start", start)
    receiver.run()
    lost = status == "lost"
    assert ("gap" in state.load(settings.data).failed) == lost
    assert bool(programs.ran("pg_receivewal", "--drop-slot")) == lost
    assert folder.with_name(f"{SYSTEM}.set-aside").exists() == lost
    assert programs.ran("pg_receivewal", "--create-slot")


def test_a_host_whose_repository_was_taken_over_stops_writing(
    settings: Settings, take: Callable[..., Backup], database: Database, repository: Repository, programs: Programs
) -> None:
    """At its next transfer, and at its next backup."""
    received(settings, segment(1, "0/5000000") + ".partial")
    take()
    another = {"owner": "another", "host": "two", "project": settings.project, "made": "2026-12-01T00:00:00+00:00"}
    repository.store_text("claim", b"", {"kind": "claim", **another})
    before = len(programs.ran("restic", "backup"))
    with pytest.raises(BackupError, match="in use by two"):
        wal.transfer(settings, database, repository)
    with pytest.raises(BackupError, match="in use by two"):
        take()
    assert len(programs.ran("restic", "backup")) == before
    assert not programs.ran("pg_basebackup")[1:], "refused before the database is copied"


def test_a_gap_in_received_wal_is_not_stored(
    settings: Settings, database: Database, repository: Repository, programs: Programs
) -> None:
    received(settings, segment(1, "0/5000000"), segment(1, "0/7000000"))
    with pytest.raises(BackupError, match="received WAL is incomplete: missing: 000000010000000000000006"):
        wal.transfer(settings, database, repository)
    assert not programs.ran("restic", "backup")


def test_segments_before_the_newest_backup_are_removed_after_they_were_stored(
    settings: Settings, take: Callable[..., Backup], programs: Programs
) -> None:
    folder = received(settings, *(segment(1, f"0/{n}000000") for n in (3, 4, 5)), segment(1, "0/6000000") + ".partial")
    take()
    kept = ["000000010000000000000005", "000000010000000000000006.partial"]
    assert sorted(each.name for each in folder.iterdir()) == kept
    [stored] = [argv for argv in programs.ran("restic", "backup") if "--tag=kind=wal" in argv]
    assert "--tag=first=000000010000000000000003" in stored
    assert "--tag=last=000000010000000000000006" in stored


def test_a_segment_that_is_completed_meanwhile_is_stored_again(
    settings: Settings, database: Database, repository: Repository, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    received(settings, segment(1, "0/5000000"))
    codes = iter((3, 0))
    programs.answer("restic", "backup", by=lambda _: Result(next(codes), summary("s"), ""))
    wal.transfer(settings, database, repository)
    assert len(programs.ran("restic", "backup")) == 2
    assert programs.ran("forget", "s"), "the incomplete snapshot is removed"


def test_log_sequence_numbers_and_segments() -> None:
    assert lsn("1/5000028") == 0x105000028
    assert segment(2, "1/FF000028") == "0000000200000001000000FF"


def test_a_broken_manifest_is_damage(tmp_path: Path) -> None:
    (tmp_path / "m").write_text('{"Files": []}')
    with pytest.raises(DamagedError):
        Manifest.read(tmp_path / "m")


def test_the_password_is_in_a_file_of_its_own(settings: Settings, programs: Programs) -> None:
    database = Database(replace(settings, db_password="the-password"))
    database.query("SELECT 1")
    assert not any("the-password" in word for word in (*programs.calls[0], *programs.environments[0].values()))
    path = Path(programs.environments[0]["PGPASSFILE"])
    assert "the-password" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_role_that_is_missing_has_a_fix(settings: Settings, programs: Programs) -> None:
    programs.on("psql", code=2, stderr='FATAL:  password authentication failed for user "backup"')
    with pytest.raises(UnavailableError) as raised:
        Database(settings).query("SELECT 1")
    assert "postgres-accounts.sh" in raised.value.fix


# --- Verification -----------------------------------------------------------------------------------------------------

LIVE = {"public.targets": Table(3, "10"), "public.results": Table(5, "20")}


@pytest.mark.parametrize(
    ("restored", "found"),
    [
        (LIVE, []),
        ({**LIVE, "public.targets": Table(2, "10")}, ["public.targets has 2 rows instead of 3"]),
        ({**LIVE, "public.targets": Table(3, "11")}, ["public.targets has other content in its 3 rows"]),
        ({"public.targets": Table(3, "10")}, ["public.results is missing"]),
        ({**LIVE, "public.more": Table(0, "0")}, ["public.more is unknown"]),
    ],
)
def test_every_table_is_compared(restored: dict[str, Table], found: list[str]) -> None:
    assert content.differences(LIVE, restored) == found


def test_a_database_without_tables_is_not_equal_to_another() -> None:
    with pytest.raises(BackupError, match="no table"):
        content.parse("\n")


@pytest.mark.parametrize("differs", [True, False])
def test_a_verification_fails_if_anything_differs(
    settings: Settings, database: Database, repository: Repository, monkeypatch: pytest.MonkeyPatch, differs: bool,
    take: Callable[..., Backup],
) -> None:  # fmt: skip
    take()
    restored = {**LIVE, "public.targets": Table(3, "other")} if differs else LIVE
    points: list[str] = []

    def count(_: Database, point: str) -> dict[str, Table]:
        points.append(point)
        return LIVE

    monkeypatch.setattr(verify, "at_restore_point", count)

    def build(_: Any, __: Any, work: Path, candidates: list[Any], target: Any) -> Any:
        assert target.point == points[0], "until the point at which the live database was counted"
        work.mkdir()
        recovered = type("Recovered", (), {"tables": restored})
        return type("Restored", (), {"recovered": recovered, "failures": (), "plan": candidates[0]})

    monkeypatch.setattr(verify, "build", build)
    if differs:
        with pytest.raises(BackupError, match="targets has other content"):
            verify.verify(settings, database, repository)
        assert "verify" in state.load(settings.data).failed
        assert state.load(settings.data).verified == 0
    else:
        assert "8 rows restored and equal" in verify.verify(settings, database, repository)
        assert state.load(settings.data).verified > 0
    assert not (settings.data / "verify").exists()


def test_a_verification_fails_if_the_newest_backup_is_damaged(
    settings: Settings, database: Database, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older one and WAL have the same content, but the newest is what a restore would start from."""
    backups.take(settings, database, repository)
    monkeypatch.setattr(verify, "at_restore_point", lambda *_: LIVE)
    recovered = type("Recovered", (), {"tables": LIVE})

    def build(_: Any, __: Any, ___: Path, candidates: list[Any], ____: Any) -> Any:
        return type("Restored", (), {"recovered": recovered, "failures": ("b2 is damaged",), "plan": candidates[0]})

    monkeypatch.setattr(verify, "build", build)
    with pytest.raises(BackupError, match="the newest backup is damaged: b2 is damaged"):
        verify.verify(settings, database, repository)
    assert state.load(settings.data).verified == 0


@pytest.mark.parametrize("rows", [0, 8])
def test_a_rehearsal_leaves_the_database_in_another_volume(
    settings: Settings, database: Database, repository: Repository, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """One without rows compares nothing, and fails before anything is restored."""
    tables = {"public.targets": Table(rows, "7")}

    def build(_: Any, __: Any, work: Path, candidates: list[Any], target: Any) -> Any:
        (work / "data").mkdir(parents=True)
        recovered = type("Recovered", (), {"tables": tables})
        return type("Restored", (), {"recovered": recovered, "failures": (), "plan": candidates[0]})

    backups.take(settings, database, repository)
    monkeypatch.setattr(verify, "at_restore_point", lambda *_: tables)
    monkeypatch.setattr(verify, "build", build)
    if not rows:
        with pytest.raises(BackupError, match="there is nothing to compare"):
            verify.verify(settings, database, repository)
        return
    assert verify.rehearse(settings, database, repository)["rows"] == {"public.targets": 8}
    assert settings.pgdata.is_dir()
    assert [each.name for each in settings.pgdata.parent.iterdir()] == ["docker"]
    with pytest.raises(BackupError, match="it may be the database of a stack"):
        verify.rehearse(settings, database, repository)
    assert settings.pgdata.is_dir()


# --- Schedule, metrics, settings --------------------------------------------------------------------------------------


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-11-{text}+00:00")


@pytest.mark.parametrize(
    ("now", "due"),
    [("30T03:14", "29T15:00"), ("30T03:15", "30T03:15"), ("30T14:59", "30T03:15"), ("30T15:00", "30T15:00")],
)
def test_the_last_scheduled_time(now: str, due: str) -> None:
    assert service.last_due((time(3, 15), time(15)), at(now)) == at(due)


def test_a_backup_is_due_once_after_each_scheduled_time_and_after_a_gap() -> None:
    settings, now = Settings(), at("30T04:00")
    done = state.State(backup={"full": at("30T03:20").timestamp()})
    assert service.backup_due(settings, state.State(), now)
    assert not service.backup_due(settings, done, now)
    assert service.backup_due(settings, done, at("30T04:00") + timedelta(days=1))
    assert service.backup_due(settings, replace(done, failed={"gap": "x"}), now)


def test_a_verification_is_due_after_the_first_backup_and_then_every_week() -> None:
    settings, now = Settings(), at("30T04:00")
    done = state.State(backup={"full": 1.0})
    assert not service.verification_due(settings, state.State(), now)
    assert service.verification_due(settings, done, now)
    assert not service.verification_due(settings, replace(done, verified=at("24T04:00").timestamp()), now)
    assert service.verification_due(settings, replace(done, verified=at("23T04:00").timestamp()), now)


def test_failed_attempts_are_repeated_more_and_more_rarely() -> None:
    assert [service.backoff(n) for n in (1, 2, 3, 20)] == [60, 120, 240, 1800]


def test_metrics_of_a_new_volume_have_no_timestamp_of_zero() -> None:
    text = metrics.render(state.State(since=1000.0))
    for what in ("last_success", "wal_stored", "verified", "platform", "oldest"):
        assert f"netmon_backup_{what}_timestamp_seconds 1000\n" in text
    assert 'netmon_backup_failed{activity="backup"} 0\n' in text


def test_metrics_have_the_outcome_of_each_activity() -> None:
    known = state.State(
        backup={"full": 5.0, "incremental": 9.5}, size={"full": 7}, failed={"verify": "x"}, wal_stored=8
    )
    text = metrics.render(known)
    assert "netmon_backup_last_success_timestamp_seconds 9.5\n" in text
    assert 'netmon_backup_size_bytes{kind="full"} 7\n' in text
    assert 'netmon_backup_failed{activity="verify"} 1\n' in text
    assert "netmon_backup_wal_stored_timestamp_seconds 8\n" in text


def test_a_client_that_closes_before_the_answer_is_no_error(capfd: pytest.CaptureFixture[str]) -> None:
    """As the health check does, which reads the first line only."""
    asked, closed = threading.Event(), threading.Event()

    def current() -> state.State:
        asked.set()
        assert closed.wait(10)
        return state.State()

    with metrics.server(0, current) as server:
        server.daemon_threads = False  # so that the end of the block waits for the answer
        threading.Thread(target=server.serve_forever).start()
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closed by a reset
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert asked.wait(10)
        closed.set()
        server.shutdown()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({}, "BACKUP_TARGET is not set"),
        ({"BACKUP_TARGET": "backup"}, "is not a target"),
        ({"BACKUP_TARGET": "http://x"}, "is not a target"),
        ({"BACKUP_TARGET": "/b", "BACKUP_KEEP_DAYS": "0"}, "BACKUP_KEEP_DAYS=0 is not a positive number"),
        ({"BACKUP_TARGET": "/b", "BACKUP_KEEP_DAYS": "nan"}, "is not a positive number"),
        ({"BACKUP_TARGET": "/b", "BACKUP_SCHEDULE": "25:00"}, "25:00 is not a time of day"),
        ({"BACKUP_TARGET": "/b", "BACKUP_SCHEDULE": ","}, "has no time"),
        ({"BACKUP_TARGET": "/b", "POSTGRES_BACKUP_PASSWORD_FILE": "/nowhere"}, "cannot read /nowhere"),
    ],
)
def test_invalid_settings_are_named(env: dict[str, str], message: str) -> None:
    with pytest.raises(BackupError, match=message):
        Settings.load(env)


def test_settings() -> None:
    env = {"BACKUP_TARGET": "s3:https://x/y", "BACKUP_SCHEDULE": "15:00, 3:05", "BACKUP_KEEP_DAYS": "30"}
    found = Settings.load(env)
    assert (found.repository, found.local, found.keep_days) == ("s3:https://x/y", False, 30)
    assert found.schedule == (time(3, 5), time(15))
    assert Settings.load({"BACKUP_TARGET": "/mnt/x"}).repository == "/target"
