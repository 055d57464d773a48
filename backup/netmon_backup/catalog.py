"""What a repository contains, and which parts of it a restore needs. Pure functions of snapshots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from netmon_backup.errors import BackupError, DamagedError

FULL: Literal["full"] = "full"
INCREMENTAL: Literal["incremental"] = "incremental"
Kind = Literal["full", "incremental"]


@dataclass(frozen=True)
class Backup:
    """A stored base backup.

    ``parent`` is the id of the backup that an incremental one is based on; ``first_segment`` is the first WAL segment
    that a recovery from it reads; from ``ended`` on it is consistent.
    """

    snapshot: str
    id: str
    kind: Kind
    parent: str
    system: str
    first_segment: str
    began: datetime
    ended: datetime
    size: int

    @property
    def tags(self) -> dict[str, str]:
        """Its description as the tags of a snapshot."""
        return {
            "kind": self.kind,
            "id": self.id,
            "parent": self.parent,
            "system": self.system,
            "first": self.first_segment,
            "began": self.began.isoformat(),
            "ended": self.ended.isoformat(),
            "bytes": str(self.size),
        }


@dataclass(frozen=True)
class WalSnapshot:
    """A stored copy of received WAL: the segments ``first`` to ``last``, as received at ``until``."""

    snapshot: str
    system: str
    first: str
    last: str
    until: datetime


@dataclass(frozen=True)
class PlatformSnapshot:
    """A stored copy of the files of the platform: configuration, credentials, definitions."""

    snapshot: str
    taken: datetime
    commit: str
    digest: str


@dataclass(frozen=True)
class Claim:
    """Whose repository it is: ``owner`` is the id of the volume of a host."""

    snapshot: str
    owner: str
    host: str
    project: str
    made: datetime


@dataclass(frozen=True)
class Catalog:
    """The contents of a repository, each kind by time."""

    backups: tuple[Backup, ...] = ()
    wal: tuple[WalSnapshot, ...] = ()
    platform: tuple[PlatformSnapshot, ...] = ()
    claims: tuple[Claim, ...] = ()
    foreign: int = 0

    @classmethod
    def parse(cls, snapshots: Iterable[Mapping[str, Any]]) -> Catalog:
        """The catalog of ``restic snapshots --json``; snapshots of other programs are only counted."""
        backups, wal, platform, claims, foreign = [], [], [], [], 0
        for snapshot in snapshots:
            tags = dict(tag.partition("=")[::2] for tag in snapshot.get("tags") or ())
            name = snapshot["id"]
            try:
                match tags.get("kind"):
                    case "full" | "incremental":
                        backups.append(_backup(name, tags))
                    case "wal":
                        until = datetime.fromisoformat(tags["until"])
                        wal.append(WalSnapshot(name, tags["system"], tags["first"], tags["last"], until))
                    case "platform":
                        taken = datetime.fromisoformat(tags["taken"])
                        platform.append(PlatformSnapshot(name, taken, tags["commit"], tags["digest"]))
                    case "claim":
                        made = datetime.fromisoformat(tags["made"])
                        claims.append(Claim(name, tags["owner"], tags["host"], tags["project"], made))
                    case _:
                        foreign += 1
            except (KeyError, ValueError):
                foreign += 1
        return cls(
            tuple(sorted(backups, key=lambda each: each.ended)),
            tuple(sorted(wal, key=lambda each: each.until)),
            tuple(sorted(platform, key=lambda each: each.taken)),
            tuple(sorted(claims, key=lambda each: each.made)),
            foreign,
        )

    @property
    def claim(self) -> Claim | None:
        """The claim that counts, the newest."""
        return self.claims[-1] if self.claims else None

    def chain(self, backup: Backup) -> list[Backup]:
        """The backups that a restore of ``backup`` combines, the full one first.

        Raises:
            DamagedError: one is missing.
        """
        known = {each.id: each for each in self.backups}
        chain = [backup]
        while chain[0].kind == INCREMENTAL:
            parent = known.get(chain[0].parent)
            if parent is None or parent in chain:
                raise DamagedError(f"backup {backup.id} is incomplete", f"{chain[0].parent} is missing")
            chain.insert(0, parent)
        return chain

    def candidates(self, at: datetime | None = None, name: str = "") -> list[Backup]:
        """The backups that a restore can start from, in the order of preference: the newest before ``at`` first.

        Args:
            at: The time to restore; None for the newest.
            name: Only this backup, by its id or a beginning of it that no other has.

        Raises:
            BackupError: there is none.
        """
        if not self.backups:
            raise BackupError("there is no backup", "the repository has none", "run: invoke backup")
        found = [each for each in self.backups if each.id.startswith(name)]
        if name and len(found) != 1:
            known = ", ".join(each.id for each in self.backups[-5:])
            raise BackupError(f"{len(found)} backups are called {name}", f"the newest are {known}",
                              "use an id of invoke backup.status")  # fmt: skip
        usable = [each for each in found if at is None or each.ended <= at]
        if not usable:
            raise BackupError(
                f"no backup is as old as {at:%Y-%m-%d %H:%M:%S %Z}",
                f"the oldest restorable time is {found[0].ended:%Y-%m-%d %H:%M:%S %Z}",
                "choose a later time",
            )
        return usable[::-1]

    def wal_for(self, backup: Backup) -> list[WalSnapshot]:
        """The stored WAL since the start of a backup, in the order in which it was stored; no copy twice."""
        first = position(backup.first_segment)
        found = [each for each in self.wal if each.system == backup.system and position(each.last) >= first]
        return [each for each in found if not any(_includes(other, each) for other in found)]

    def expired(self, now: datetime, keep_days: float) -> list[str]:
        """The snapshots that no restore to a time of the last ``keep_days`` needs.

        The newest full backup with what was added to it, the newest copy of the platform's files and the last claim are
        always kept.
        """
        cutoff = now - timedelta(days=keep_days)
        fulls = [each for each in self.backups if each.kind == FULL]
        before = [each for each in fulls if each.ended <= cutoff]
        oldest = before[-1] if before else fulls[0] if fulls else None
        expired = [] if oldest is None else [each.snapshot for each in self.backups if each.ended < oldest.ended]
        if oldest is not None:
            expired += [
                each.snapshot
                for each in self.wal
                if each.until < oldest.began
                or (each.system == oldest.system and position(each.last) < position(oldest.first_segment))
            ]
        expired += [each.snapshot for each in self.platform[:-1] if each.taken < cutoff]
        return expired + [each.snapshot for each in self.claims[:-1] if each.made < cutoff]

    def superseded(self, newer: WalSnapshot) -> list[str]:
        """The WAL snapshots whose segments are all in ``newer``, as received at that time or later."""
        return [each.snapshot for each in self.wal if _includes(newer, each)]


def _includes(newer: WalSnapshot, older: WalSnapshot) -> bool:
    same = newer.system == older.system and newer.snapshot != older.snapshot
    return same and newer.first <= older.first and older.last <= newer.last and older.until < newer.until


def _backup(snapshot: str, tags: Mapping[str, str]) -> Backup:
    return Backup(
        snapshot=snapshot,
        id=tags["id"],
        kind=FULL if tags["kind"] == FULL else INCREMENTAL,
        parent=tags.get("parent", ""),
        system=tags["system"],
        first_segment=tags["first"],
        began=datetime.fromisoformat(tags["began"]),
        ended=datetime.fromisoformat(tags["ended"]),
        size=int(tags["bytes"]),
    )


def position(segment: str) -> str:
    """The position of a WAL segment without its timeline, in an order that strings have."""
    return segment[8:24]


def gaps(segments: Sequence[str]) -> list[str]:
    """The segments that are missing between the first and the last of a timeline; 16 MB each."""
    if not segments:
        return []
    numbers = {segment_number(each) for each in segments}
    timeline = max(segments)[:8]
    return [_name(timeline, number) for number in range(min(numbers), max(numbers)) if number not in numbers]


def segment_number(segment: str) -> int:
    """The number of a WAL segment of 16 MB since the beginning of the database system."""
    return int(segment[8:16], 16) * 256 + int(segment[16:24], 16)


def _name(timeline: str, number: int) -> str:
    return f"{timeline}{number // 256:08X}{number % 256:08X}"
