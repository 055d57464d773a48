"""Backups under writes, and restores from what was damaged, killed, lost or is not ours."""

from __future__ import annotations

import random
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live.backups import BACKUP_IMAGE, CommandError, Host, Write, host, moment, write

Record = Callable[[str], None]
ROWS = 20_000


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Host]:
    """A host with a database and its first backup."""
    with host(tmp_path) as made:
        made.start_database(ROWS)
        made.start_service()
        made.until("the first backup", lambda state: state["verified"] and state["wal_stored"])
        yield made


def writing(database: Host, seconds: float) -> tuple[threading.Thread, list[Write]]:
    """Write in the background; the ledger is complete when the thread has ended."""
    ledger: list[Write] = []
    thread = threading.Thread(target=lambda: ledger.extend(write(database, seconds)))
    thread.start()
    return thread, ledger


def restored_rows(database: Host, at: float) -> int:
    """The number of written rows in a restore to a time."""
    return int(database.run("prepare", f"--at={moment(at)}")["rows"]["public.results"]) - ROWS


def test_ten_random_points_in_time_under_writes(one: Host, record: Record) -> None:
    """Every write that was acknowledged before the point is there, and none that began after it."""
    thread, ledger = writing(one, 60)
    time.sleep(15)
    assert one.call("backup")["kind"] == "incremental"
    time.sleep(10)
    assert one.call("backup", "--full")["kind"] == "full"
    time.sleep(5)
    assert one.call("backup")["kind"] == "incremental"
    thread.join()
    seed = secrets.randbits(32)
    points = random.Random(seed)  # noqa: S311
    took = []
    for _ in range(10):
        at = points.uniform(ledger[0].acknowledged, ledger[-1].began)
        began = time.monotonic()
        rows = restored_rows(one, at)
        took.append(time.monotonic() - began)
        acknowledged = sum(each.acknowledged < at for each in ledger)
        begun = sum(each.began < at for each in ledger)
        assert acknowledged <= rows <= begun, f"seed {seed}, at {moment(at)}"
    record(f"10 of 10 points exact, {len(ledger)} writes; a restore took {min(took):.0f} to {max(took):.0f} s")


def test_a_second_before_a_delete_in_place(one: Host, record: Record) -> None:
    """The former database is set aside, and backups continue with a full one."""
    time.sleep(1.5)
    at = time.time()
    time.sleep(1)
    one.sql("DELETE FROM targets")
    prepared = one.run("prepare", f"--at={moment(at)}")
    assert one.sql("SELECT count(*) FROM targets") == "0", "the present database runs on, unchanged"
    one.stop_service()
    one.stop_database()
    began = time.monotonic()
    assert one.run("exchange", prepared["id"])["set_aside"].startswith("set-aside-")
    exchange = time.monotonic() - began
    one.start_database()
    assert one.sql("SELECT count(*) FROM targets") == "1000"
    assert {each.partition("-2")[0] for each in one.folders()} == {"docker", "set-aside"}
    one.start_service()
    one.until("a full backup after the restore", lambda state: "gap" not in state["failed"])
    assert "restored and equal" in one.call("verify")
    record(f"the exchange took {exchange:.1f} s")


def test_the_database_is_lost(one: Host, record: Record) -> None:
    """The host survives: what was received until the kill is restored, all that was acknowledged."""
    thread, ledger = writing(one, 20)
    thread.join()
    one.docker("kill", f"{one.name}-db")
    time.sleep(1)
    one.docker("run", "--rm", f"--volume={one.name}-pg:/v", "--entrypoint=rm", BACKUP_IMAGE, "-rf", "/v/18/docker")
    one.stop_service()
    rows = int(one.run("prepare")["rows"]["public.results"]) - ROWS
    assert rows == len(ledger)
    record(f"{len(ledger)} acknowledged writes, 0 lost")


def test_the_host_is_lost(one: Host, tmp_path: Path, record: Record) -> None:
    """Another host has the target and the key: it loses the writes since the last transfer."""
    ledger = write(one, 30)
    lost_at = time.time()
    one.stop_service(kill=True)
    one.docker("kill", f"{one.name}-db")
    with host(tmp_path, one.target, host="two") as two:
        two.start_database(0)
        two.stop_database()
        began = time.monotonic()
        prepared = two.run("prepare", "--take-over")
        took = time.monotonic() - began
        rows = int(prepared["rows"]["public.results"]) - ROWS
        newest = ledger[rows - 1].acknowledged
        loss = lost_at - newest
        assert 0 <= loss < 15, "a transfer every 3 s"
        two.run("exchange", prepared["id"])
        two.start_database()
        assert int(two.sql("SELECT count(*) FROM results")) == ROWS + rows
        two.start_service()
        two.until("a backup of the new host", lambda state: state["backup"] and "gap" not in state["failed"])
        one.docker("start", f"{one.name}-service", check=False)
        with pytest.raises(CommandError, match="in use by two"):
            one.run("backup")
    record(f"{len(ledger) - rows} of {len(ledger)} writes lost, those of {loss:.1f} s; restored in {took:.0f} s")


def test_a_second_host_is_refused(one: Host, tmp_path: Path) -> None:
    one.stop_service()
    before = {each.name for each in (one.target / "snapshots").iterdir()}
    with host(tmp_path, one.target, host="two") as two:
        two.start_database(10)
        two.start_service()
        two.until("its refusal", lambda state: "in use by one" in state["failed"].get("backup", ""))
        with pytest.raises(CommandError, match="in use by one"):
            two.call("backup")
    assert {each.name for each in (one.target / "snapshots").iterdir()} == before


def test_the_newest_backup_is_damaged(one: Host, record: Record) -> None:
    """A restore falls back to the previous backup, and reports it; a verification fails."""
    one.sql("UPDATE results SET payload = md5(random()::text) WHERE id < 0")
    updated = time.time()
    one.until("its transfer", lambda state: state["wal_stored"] > updated)
    one.stop_service()
    # No transfer in between: the first new snapshot is the backup, with data in packs that are older than it.
    one.start_service(BACKUP_WAL_SECONDS="3600")
    one.until("its start", bool)
    known = {*(one.target / "snapshots").iterdir(), *(one.target / "data").rglob("*")}
    newest = one.call("backup")
    stored = min((each for each in (one.target / "snapshots").iterdir() if each not in known), key=modified)
    packs = [each for each in (one.target / "data").rglob("*") if each not in known and each.is_file()]
    largest = max((each for each in packs if modified(each) <= modified(stored)), key=lambda each: each.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 3] ^= 1
    largest.chmod(0o600)
    largest.write_bytes(content)
    prepared = one.run("prepare")
    assert prepared["backup"] != newest["id"]
    assert prepared["rows"]["public.results"] == ROWS
    assert "damaged" in prepared["failures"][0]
    with pytest.raises(CommandError, match="the newest backup is damaged"):
        one.call("verify")
    record("fell back to the backup before")


def modified(path: Path) -> float:
    """The time of the last change of a file."""
    return path.stat().st_mtime


def test_the_wrong_key(one: Host) -> None:
    one.stop_service()
    key = one.folder / "secrets" / "key"
    kept = key.read_text()
    key.write_text("another key, 0123456789\n")
    with pytest.raises(CommandError, match=r"is not the key of this repository .* put your copy of its key there"):
        one.run("prepare")
    with pytest.raises(CommandError, match="is not the key"):
        one.run("backup")
    assert one.folders() == {"docker"}
    key.write_text(kept)
    assert one.run("prepare")["rows"]["public.targets"] == 1000


def test_too_little_disk_space(one: Host) -> None:
    volume = f"{one.name}-small"
    options = ("--opt=type=tmpfs", "--opt=device=tmpfs", f"--opt=o=size=64m,uid={999}")
    one.docker("volume", "create", *options, volume)
    try:
        with pytest.raises(CommandError, match=r"too little disk space.* GB are needed and 0\.0. GB are free"):
            one.run("prepare", volume=volume)
    finally:
        one.docker("volume", "rm", volume)


def test_killed_in_the_middle(one: Host, record: Record) -> None:
    """At any time: no backup that looks whole, no database that starts but is not; the next run succeeds."""
    points = random.Random(1)  # noqa: S311
    one.stop_service()
    backups = len(one.run("status")["backups"])
    for _ in range(5):
        process = one.start_command("backup", "--full")
        time.sleep(points.uniform(0.5, 6))
        one.docker("kill", f"{one.name}-command", check=False)
        process.communicate(timeout=60)
        found = one.run("status")["backups"]
        # Killed after its snapshot was written it is whole.
        for each in found[backups:]:
            assert one.run("prepare", f"--backup={each['id']}")["rows"]["public.targets"] == 1000
        backups = len(found)
    for _ in range(5):
        process = one.start_command("prepare")
        time.sleep(points.uniform(1, 10))
        one.docker("kill", f"{one.name}-command", check=False)
        process.communicate(timeout=60)
        assert one.sql("SELECT count(*) FROM targets") == "1000"
    assert one.run("prepare")["rows"]["public.targets"] == 1000
    assert len([each for each in one.folders() if each.startswith("restore-")]) == 1
    record("5 backups and 5 restores killed")


def test_the_target_vanishes_and_returns(one: Host) -> None:
    """Failures are reported meanwhile; WAL waits, so that nothing is missing afterwards."""
    repository = one.target
    hidden = repository / "hidden"
    hidden.mkdir()
    parts = [each for each in repository.iterdir() if each != hidden]
    for part in parts:
        part.rename(hidden / part.name)
    one.until("the failure", lambda state: "transfer" in state["failed"], 60)
    with pytest.raises(CommandError, match="there is no repository"):
        one.call("backup")
    assert not (repository / "config").exists(), "no second repository"
    ledger = write(one, 5)
    for part in parts:
        (hidden / part.name).rename(part)
    shutil.rmtree(hidden)
    back = time.time()
    one.until("a transfer", lambda state: "transfer" not in state["failed"] and state["wal_stored"] > back)
    assert int(one.run("prepare")["rows"]["public.results"]) == ROWS + len(ledger)


def test_a_read_only_target_and_a_foreign_folder(one: Host, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "holiday.jpg").write_text("x")
    with host(tmp_path / "other", foreign) as two:
        two.start_database(10)
        with pytest.raises(CommandError, match=r"the folder is not empty \(holiday.jpg\)"):
            two.run("backup")
    assert [each.name for each in foreign.iterdir()] == ["holiday.jpg"]


def test_the_slot_is_lost(tmp_path: Path, record: Record) -> None:
    """The service was unavailable for longer than the database keeps WAL: it begins again, with a full backup."""
    with host(tmp_path, wal_limit="32MB") as one:
        one.start_database(ROWS)
        one.start_service()
        one.until("the first backup", lambda state: state["backup"])
        one.stop_service()
        for _ in range(6):
            one.sql("INSERT INTO results SELECT (SELECT max(id) FROM results) + n, repeat('x', 900) "
                    "FROM generate_series(1, 20000) n; SELECT pg_switch_wal(); CHECKPOINT;")  # fmt: skip
        assert one.sql("SELECT wal_status FROM pg_replication_slots") == "lost"
        restarted, began = time.time(), time.monotonic()
        one.start_service()
        one.until("a full backup", lambda state: not state["failed"] and len(state["backup"]) == 1
                  and state["wal_stored"] > restarted, 180)  # fmt: skip
        record(f"repaired in {time.monotonic() - began:.0f} s")
        assert "restored and equal" in one.call("verify")
