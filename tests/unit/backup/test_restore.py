"""A restore is complete or does not count: killed at any step, one of the two databases is in place, the other kept."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from netmon_backup import commands, recovery, restore, state
from netmon_backup.catalog import Catalog
from netmon_backup.commands import Result
from netmon_backup.content import Table
from netmon_backup.errors import BackupError, DamagedError, GoneError
from netmon_backup.recovery import Recovered, Target
from netmon_backup.repository import Repository
from netmon_backup.restore import COMPLETE, EXCHANGING, build, exchange, plans, prepare, remove_leftovers
from netmon_backup.settings import Settings
from tests.unit.backup.conftest import Programs
from tests.unit.backup.test_catalog import daily, day, made, wal

NOW = datetime(2026, 11, 30, tzinfo=UTC)


class Killed(BaseException):
    """A kill, which the code cannot catch."""


@pytest.fixture
def root(settings: Settings, programs: Programs) -> Path:
    """The folder of the database, with a present one and a prepared restore."""
    state.load(settings.data)
    root = settings.pgdata.parent
    (root / "docker").mkdir(parents=True)
    (root / "docker" / "PG_VERSION").write_text("present")
    ready(root)
    programs.answer("mv", by=swap)
    return root


def ready(root: Path) -> None:
    (root / "restore-1" / "data").mkdir(parents=True)
    (root / "restore-1" / "data" / "PG_VERSION").write_text("restored")
    (root / "restore-1" / COMPLETE).write_text(json.dumps({"rows": {}}))


def swap(argv: list[str]) -> Result:
    """``mv --exchange``: one system call there, which a kill cannot divide."""
    assert "--exchange" in argv
    one, other = map(Path, argv[-2:])
    between = one.with_name("between")
    os.rename(one, between)  # noqa: PTH104 - the test counts those of Path
    os.rename(other, one)  # noqa: PTH104
    os.rename(between, other)  # noqa: PTH104
    return Result(0, "", "")


def databases(root: Path) -> dict[str, str]:
    """The content of each folder that could be a database, by its name."""
    return {str(each.parent.relative_to(root)): each.read_text() for each in root.rglob("PG_VERSION")}


def test_the_present_database_is_set_aside(settings: Settings, root: Path) -> None:
    (settings.wal / "1").mkdir(parents=True)
    done = exchange(settings, "restore-1", now=NOW)
    assert done["set_aside"] == "set-aside-20261130T000000Z"
    assert databases(root) == {"docker": "restored", "set-aside-20261130T000000Z": "present"}
    assert sorted(each.name for each in root.iterdir()) == ["docker", "set-aside-20261130T000000Z"]
    # WAL of the former timeline is not continued, and the next backup is full.
    assert [each.name for each in settings.wal.iterdir()] == ["1.set-aside"]
    assert "gap" in state.load(settings.data).failed


def test_an_empty_host_has_nothing_to_set_aside(settings: Settings, root: Path, programs: Programs) -> None:
    shutil.rmtree(root / "docker")
    assert exchange(settings, "restore-1")["set_aside"] is None
    assert databases(root) == {"docker": "restored"}
    assert not programs.ran("mv")


@pytest.mark.parametrize("step", range(5))
def test_killed_at_any_step_both_databases_exist_and_one_is_in_place(
    settings: Settings, root: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Also after the leftovers were removed by the next run."""
    count = 0

    def killed_before(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == step + 1:
                raise Killed
            return function(*args, **kwargs)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed_before(Path.rename))
        patch.setattr(commands, "run", killed_before(commands.run))
        patch.setattr(shutil, "rmtree", killed_before(shutil.rmtree))
        with suppress(Killed):
            exchange(settings, "restore-1", now=NOW)
    remove_leftovers(root)
    found = databases(root)
    assert found["docker"] in {"present", "restored"}
    assert "present" in found.values(), "the former database is never deleted"
    if found["docker"] == "restored":
        assert len(found) == 2


def test_a_restore_that_is_not_complete_is_not_put_into_place(settings: Settings, root: Path) -> None:
    (root / "restore-1" / COMPLETE).unlink()
    with pytest.raises(BackupError, match="is not a prepared restore"):
        exchange(settings, "restore-1")
    assert databases(root)["docker"] == "present"


@pytest.mark.parametrize("name", ["../docker", "docker", "restore-2", ""])
def test_only_a_prepared_restore_is_put_into_place(settings: Settings, root: Path, name: str) -> None:
    with pytest.raises(BackupError, match="is not a prepared restore"):
        exchange(settings, name)


def test_a_failed_exchange_can_be_repeated(settings: Settings, root: Path, programs: Programs) -> None:
    programs.on("mv", code=1, stderr="mv: exchange not supported")
    with pytest.raises(BackupError, match="not supported"):
        exchange(settings, "restore-1")
    programs.answer("mv", by=swap)
    exchange(settings, "restore-1")
    assert databases(root)["docker"] == "restored"


def test_leftovers_are_removed_but_for_what_may_be_a_former_database(root: Path) -> None:
    (root / "restore-2" / "data").mkdir(parents=True)
    (root / "restore-2" / "data" / "PG_VERSION").write_text("half")
    (root / "restore-1" / COMPLETE).rename(root / "restore-1" / EXCHANGING)
    remove_leftovers(root)
    assert databases(root) == {"docker": "present", "set-aside-1": "restored"}


class Fetching(Repository):
    """A repository that writes a file per snapshot; ``broken`` ones are damaged, ``gone`` ones removed once."""

    broken: set[str]
    gone: set[str]
    listed: Catalog

    def fetch(self, snapshot: str, target: Path) -> None:
        if snapshot in self.broken:
            raise DamagedError(f"snapshot {snapshot} is damaged")
        if snapshot in self.gone:
            self.gone.discard(snapshot)
            raise GoneError(f"snapshot {snapshot} is missing")
        target.mkdir(exist_ok=True)
        (target / f"{snapshot}.partial").touch()

    def catalog(self) -> Catalog:
        return self.listed


@pytest.fixture
def repository(settings: Settings) -> Fetching:
    found = Fetching(settings, "o")
    backups = daily(4, 4)
    copies = tuple(wal(10 * n, 10 * n + 9, n + 1) for n in range(4))
    object.__setattr__(found, "broken", set())
    object.__setattr__(found, "gone", set())
    object.__setattr__(found, "listed", Catalog(backups, copies))
    return found


@pytest.fixture
def recovered(monkeypatch: pytest.MonkeyPatch, programs: Programs) -> list[tuple[Any, ...]]:
    """The recoveries that were begun, which all succeed."""
    calls: list[tuple[Any, ...]] = []

    def recover(settings: Settings, data: Path, folder: Path, target: Target, *, complete: bool = False) -> Recovered:
        calls.append((sorted(each.name for each in folder.iterdir()), target, complete))
        return Recovered(NOW, {"public.targets": Table(3, "1")})

    def combine(argv: list[str]) -> Result:
        Path(argv[-1].partition("=")[2]).mkdir()
        return Result(0, "", "")

    monkeypatch.setattr(restore, "recover", recover)
    programs.answer("pg_combinebackup", by=combine)
    return calls


def test_a_restore_combines_the_chain_and_replays_until_the_time(
    settings: Settings, repository: Fetching, recovered: list[tuple[Any, ...]], programs: Programs
) -> None:
    at = day(2.5)
    done = prepare(settings, repository, repository.listed, at=at)
    assert done["chain"] == ["b0", "b1", "b2"]
    assert len(programs.ran("pg_verifybackup")) == 3, "each part is verified"
    [combined] = programs.ran("pg_combinebackup")
    assert [Path(each).name for each in combined[3:6]] == ["b0", "b1", "b2"]
    [(segments, target, complete)] = recovered
    assert segments == ["w20-29", "w30-39"], "incomplete segments lose their suffix"
    assert target.at == at
    assert complete
    work = settings.pgdata.parent / done["id"]
    assert (work / COMPLETE).exists()
    assert sorted(each.name for each in work.iterdir()) == [COMPLETE, "data"]


def test_a_damaged_backup_is_replaced_by_the_one_before_and_that_is_reported(
    settings: Settings, repository: Fetching, recovered: list[tuple[Any, ...]]
) -> None:
    repository.broken.add("s3")
    done = prepare(settings, repository, repository.listed)
    assert done["backup"] == "b2"
    assert done["failures"] == ["snapshot s3 is damaged"]


def test_files_that_do_not_match_their_manifest_are_damage(
    settings: Settings, repository: Fetching, recovered: list[tuple[Any, ...]], programs: Programs
) -> None:
    programs.answer(
        "pg_verifybackup", by=lambda argv: Result(int(argv[-1].endswith("b3")), "", "checksum mismatch for file x")
    )
    done = prepare(settings, repository, repository.listed)
    assert done["backup"] == "b2"
    assert "checksum mismatch" in done["failures"][0]


def test_without_an_intact_backup_nothing_is_left(
    settings: Settings, repository: Fetching, recovered: list[tuple[Any, ...]]
) -> None:
    repository.broken.add("s0")
    with pytest.raises(DamagedError, match="no backup is intact"):
        prepare(settings, repository, repository.listed)
    assert not list(settings.pgdata.parent.iterdir())


def test_wal_that_was_replaced_by_a_newer_copy_meanwhile_is_fetched_again(
    settings: Settings, repository: Fetching, recovered: list[tuple[Any, ...]]
) -> None:
    repository.gone.add("w30-39")
    assert prepare(settings, repository, repository.listed)["failures"] == []
    assert recovered[0][0] == ["w30-39"]


def test_a_named_backup_has_no_replacement(
    settings: Settings, repository: Fetching, recovered: list[tuple[Any, ...]]
) -> None:
    repository.broken.add("s2")
    with pytest.raises(DamagedError, match="no backup is intact"):
        prepare(settings, repository, repository.listed, name="b2")


def test_too_little_space_is_an_error_before_anything_is_fetched(
    settings: Settings, repository: Fetching, recovered: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9000, 8000, 1000))
    with pytest.raises(BackupError, match="too little disk space"):
        prepare(settings, repository, repository.listed)
    assert not recovered
    assert not list(settings.pgdata.parent.iterdir())


def test_one_restore_at_a_time(settings: Settings, repository: Fetching, recovered: list[tuple[Any, ...]]) -> None:
    state.load(settings.data)
    with state.exclusive(settings.data, "take a backup"), pytest.raises(BackupError, match="in progress"):
        prepare(settings, repository, repository.listed)


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (datetime.now(UTC) + timedelta(hours=1), "in the future"),
        (day(9), "no WAL reaches until"),
        (day(-3), "no backup is as old as"),
    ],
)
def test_an_impossible_time_is_explained(at: datetime, message: str) -> None:
    catalog = Catalog(daily(3, 3), (wal(0, 30, 3),))
    with pytest.raises(BackupError, match=message):
        plans(catalog, at)


def test_a_plan_has_the_size_of_its_chain_the_result_and_wal() -> None:
    catalog = Catalog(daily(3, 3), (wal(20, 22, 3),))
    [newest, *_] = plans(catalog, None)
    assert newest.wal_bytes == 3 * 16 * 1024 * 1024
    assert newest.size == 3 * 100 + 100 + newest.wal_bytes


def test_a_chain_with_a_missing_part_is_skipped() -> None:
    catalog = Catalog((made(0), made(2, "b1")), (wal(0, 30, 3),))
    assert [plan.backup.id for plan in plans(catalog, None)] == ["b0"]


def test_recovery_ends_at_the_end_of_wal_only_if_nothing_is_missing(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL refuses a target after the last commit: fine if WAL is known to reach until then."""
    targets: list[Target] = []

    def replay(_: Settings, __: Path, ___: Path, target: Target, ____: Path) -> tuple[str, dict[str, Table]]:
        targets.append(target)
        if target.at:
            raise recovery._TooShortError("last completed transaction was at log time 2026-11-01 10:00:00.5+00")
        return "", {"t": Table(1, "2")}

    monkeypatch.setattr(recovery, "_replay", replay)
    with pytest.raises(BackupError, match=r"WAL ends before the requested time.*10:00:00\.5"):
        recovery.recover(settings, tmp_path, tmp_path, Target(day(1)))
    found = recovery.recover(settings, tmp_path, tmp_path, Target(day(1)), complete=True)
    assert found.last_commit == datetime(2026, 11, 1, 10, 0, 0, 500000, UTC)
    assert targets[-1] == Target()
    assert (tmp_path / "recovery.signal").exists()


def test_the_time_is_passed_with_its_offset() -> None:
    assert Target(datetime.fromisoformat("2026-11-30T14:05:00.25+02:00")).options == [
        "recovery_target_time=2026-11-30 12:05:00.250000+00"
    ]


def test_a_build_for_a_restore_point_uses_its_name(
    settings: Settings, repository: Fetching, recovered: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    build(settings, repository, tmp_path / "work", plans(repository.listed, None), Target(point="p"))
    assert recovered[0][1].options == ["recovery_target_name=p"]
