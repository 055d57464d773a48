"""The catalog: which backups and which WAL a restore needs, and which the retention removes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon_backup.catalog import FULL, INCREMENTAL, Backup, Catalog, Claim, PlatformSnapshot, WalSnapshot, gaps
from netmon_backup.errors import BackupError, DamagedError

START = datetime(2026, 11, 1, tzinfo=UTC)


def segment(number: int, timeline: int = 1) -> str:
    return f"{timeline:08X}{number // 256:08X}{number % 256:08X}"


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def made(number: int, parent: str = "", system: str = "1") -> Backup:
    """The backup of a day, whose recovery begins with the segment ten times its number."""
    kind = INCREMENTAL if parent else FULL
    began = day(number)
    return Backup(f"s{number}", f"b{number}", kind, parent, system, segment(10 * number), began,
                  began + timedelta(hours=1), 100)  # fmt: skip


def wal(first: int, last: int, until: float, name: str = "", system: str = "1") -> WalSnapshot:
    return WalSnapshot(name or f"w{first}-{last}", system, segment(first), segment(last), day(until))


def daily(days: int, full_every: int) -> tuple[Backup, ...]:
    """A backup every day, a full one at the beginning and every ``full_every`` days."""
    return tuple(made(n, "" if n % full_every == 0 else f"b{n - 1}") for n in range(days))


def test_snapshots_are_parsed_and_those_of_other_programs_counted() -> None:
    backup = made(1, "b0")
    found = Catalog.parse(
        [
            {"id": "s1", "tags": [f"{name}={value}" for name, value in backup.tags.items()]},
            {"id": "w", "tags": ["kind=wal", "system=1", "first=A", "last=B", f"until={day(2).isoformat()}"]},
            {"id": "p", "tags": ["kind=platform", f"taken={day(2).isoformat()}", "commit=abc", "digest=d"]},
            {"id": "c", "tags": ["kind=claim", "owner=o", "host=h", "project=p", f"made={day(0).isoformat()}"]},
            {"id": "other", "tags": None},
            {"id": "broken", "tags": ["kind=full", "id=x"]},
        ]
    )
    assert found.backups == (backup,)
    assert [each.snapshot for each in found.wal] == ["w"]
    assert found.platform[0].commit == "abc"
    assert found.claim == Claim("c", "o", "h", "p", day(0))
    assert found.foreign == 2


def test_a_chain_has_every_backup_back_to_the_full_one() -> None:
    catalog = Catalog(daily(5, 3))
    assert [each.id for each in catalog.chain(catalog.backups[2])] == ["b0", "b1", "b2"]
    assert [each.id for each in catalog.chain(catalog.backups[4])] == ["b3", "b4"]


def test_a_chain_without_its_parent_is_damaged() -> None:
    catalog = Catalog((made(0), made(2, "b1")))
    with pytest.raises(DamagedError, match="b1 is missing"):
        catalog.chain(catalog.backups[1])


def test_candidates_end_before_the_time_and_the_newest_is_first() -> None:
    catalog = Catalog(daily(5, 3))
    assert [each.id for each in catalog.candidates(day(2.5))] == ["b2", "b1", "b0"]
    # Until its end a backup is not consistent.
    assert catalog.candidates(day(2) + timedelta(minutes=59))[0].id == "b1"
    assert catalog.candidates(day(2) + timedelta(minutes=60))[0].id == "b2"
    assert [each.id for each in catalog.candidates(None, "b1")] == ["b1"]


@pytest.mark.parametrize(
    ("at", "name", "message"),
    [
        (day(-1), "", "no backup is as old as"),
        (None, "c", "0 backups are called c"),
        (None, "b", "5 backups are called b"),
        (day(1), "b3", "no backup is as old as"),
    ],
)
def test_an_impossible_choice_is_explained(at: datetime | None, name: str, message: str) -> None:
    with pytest.raises(BackupError, match=message):
        Catalog(daily(5, 3)).candidates(at, name)


def test_an_empty_repository_is_explained() -> None:
    with pytest.raises(BackupError, match="there is no backup"):
        Catalog().candidates()


def test_wal_begins_with_the_first_segment_of_the_backup_and_no_copy_is_fetched_twice() -> None:
    copies = (wal(0, 9, 0.9), wal(8, 12, 1.1), wal(10, 15, 1.4), wal(10, 20, 1.9), wal(18, 30, 2.5))
    found = Catalog(daily(3, 3), copies).wal_for(made(1))
    assert [each.snapshot for each in found] == ["w8-12", "w10-20", "w18-30"]
    assert not Catalog(daily(3, 3), copies).wal_for(made(1, system="2"))


def test_a_copy_is_superseded_only_by_a_later_one_with_all_of_its_segments() -> None:
    copies = (wal(0, 9, 1), wal(0, 10, 2), wal(5, 12, 3), wal(0, 11, 1, system="2"))
    newer = wal(0, 11, 4, "new")
    assert Catalog((), (*copies, newer)).superseded(newer) == ["w0-9", "w0-10"]
    assert Catalog((), (*copies, newer)).superseded(wal(0, 12, 0.5, "older")) == []


@given(
    days=st.integers(1, 40),
    full_every=st.integers(1, 9),
    keep=st.integers(1, 20),
    age=st.floats(0, 3, allow_nan=False),
)
def test_retention_keeps_every_second_of_its_period_restorable(
    days: int, full_every: int, keep: int, age: float
) -> None:
    """For each time in the period that was restorable before, its backups and its WAL remain."""
    backups = daily(days, full_every)
    # A copy of WAL between any two backups, and one after the last.
    copies = tuple(wal(10 * n, 10 * n + 10, n + 1, f"w{n}") for n in range(days))
    now = day(days + age)
    catalog = Catalog(backups, copies)
    gone = set(catalog.expired(now, keep))
    left = Catalog(
        tuple(each for each in backups if each.snapshot not in gone),
        tuple(each for each in copies if each.snapshot not in gone),
    )
    assert any(each.kind == FULL for each in left.backups)
    for hours in range(0, 24 * keep, 5):
        at = now - timedelta(hours=hours)
        if at < backups[0].ended:
            continue
        chosen = left.candidates(at)[0]
        assert chosen == catalog.candidates(at)[0]
        assert left.chain(chosen) == catalog.chain(chosen)
        assert left.wal_for(chosen) == catalog.wal_for(chosen)
    # And nothing that is older than the full backup before the period.
    assert len(left.backups) <= keep + full_every + age + 2


def test_retention_keeps_the_newest_full_backup_however_old_it_is() -> None:
    catalog = Catalog((made(0),), (wal(0, 10, 1),), (PlatformSnapshot("p", day(0), "", ""),),
                      (Claim("c", "o", "h", "p", day(0)),))  # fmt: skip
    assert catalog.expired(day(400), 14) == []


def test_gaps_between_segments_are_found() -> None:
    assert gaps([segment(n) for n in (254, 255, 257)]) == [segment(256)]
    assert gaps([segment(3)]) == gaps([]) == []
