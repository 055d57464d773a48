"""What is stored of heartbeats and silent periods, with a fake database."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from psycopg import OperationalError

from netmon import heartbeat_store, heartbeat_watch, heartbeats
from netmon.health import Lifecycle
from netmon.heartbeat_store import HeartbeatStore, ReceptionBeat, Report, TooEarlyError
from netmon.heartbeat_watch import DueHeartbeat, HeartbeatWatch
from netmon.result_store import PendingResult
from netmon.specs import HeartbeatSpec, Spec, TcpSpec
from netmon.target_models import Target, TargetSettings

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def row(**changes: Any) -> dict[str, Any]:
    """A target with an interval of 60 s and a grace of 10 s, whose last heartbeat came 70 s ago."""
    plan = {"interval_seconds": 60, "patience_seconds": 10, "slow_ms": None}
    last = NOW - seconds(70)
    times = {"silent_since": last, "awaited_from": last, "since": NOW - seconds(500), "until": NOW, "now": NOW}
    heartbeat = {"result_at": last, "succeeded": True, "enabled": True}
    target = uuid4()
    return {"id": target, "target": target, "generation": 3} | plan | times | heartbeat | changes


class Rows:
    """A database with due heartbeats; replaces the functions that execute statements."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *rows: dict[str, Any]) -> None:
        self.rows = list(rows)
        self.stored: list[PendingResult] = []
        self.advanced: dict[Any, DueHeartbeat] = {}
        self.statements: list[str] = []
        self.committed = 0
        self.unavailable = False
        self.resumed: list[Any] = []
        for name in ("_claim", "_advance", "_resume"):
            monkeypatch.setattr(heartbeat_watch, name, getattr(self, name))
        for module in (heartbeat_watch, heartbeat_store):
            monkeypatch.setattr(module, "store_in", self.store_in)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["Rows"]:
        yield self
        self.committed += 1

    async def one(self, _query: str, _parameters: object) -> dict[str, Any] | None:
        return {"exists": bool(self.rows)} | (self.rows[0] if self.rows else {})

    async def run(self, query: str, _parameters: object) -> None:
        self.statements.append(query)

    async def execute(self, query: str, _parameters: object = None) -> "Rows":
        self.statements.append(query)
        return self

    async def fetchone(self) -> dict[str, Any] | None:
        return self.rows[0] if self.rows else None

    async def _claim(self, _connection: object) -> list[dict[str, Any]]:
        return self.rows

    async def store_in(self, _connection: object, results: Sequence[PendingResult]) -> None:
        if self.unavailable:
            raise OperationalError("unavailable")
        self.stored += results

    async def _resume(self, _connection: object, targets: Sequence[Any]) -> None:
        self.resumed += targets

    async def _advance(self, _connection: object, due: Sequence[DueHeartbeat]) -> None:
        self.advanced |= {each.target: each for each in due}


def watch(rows: Any) -> HeartbeatWatch:
    return HeartbeatWatch(rows)


async def test_a_silent_period_is_stored_as_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    silent, in_time = row(), row(awaited_from=NOW - seconds(69))
    rows = Rows(monkeypatch, silent, in_time)
    assert await watch(rows).look() == 2
    [result] = rows.stored
    probe = result.probe
    assert (probe.target, probe.kind, probe.status, probe.error) == (
        str(silent["id"]), "heartbeat", "failed", "no_heartbeat"
    )  # fmt: skip
    assert (probe.detail, probe.finished_at) == ("no heartbeat for 70 s, expected every 60 s", NOW)
    assert result.generation == 3
    assert (rows.committed, rows.resumed) == (1, [])
    # The next period: until its end, the grace, and the next beat of the reception.
    assert rows.advanced[silent["id"]].due_at == NOW + seconds(60 + 2)
    assert rows.advanced[in_time["id"]].due_at == NOW + seconds(1 + 2)


async def test_nothing_is_decided_while_heartbeats_cannot_be_received(monkeypatch: pytest.MonkeyPatch) -> None:
    late = {"awaited_from": NOW - seconds(80)}
    rows = Rows(monkeypatch, row(**late, until=NOW - seconds(30)), row(**late, since=None, until=None))
    await watch(rows).look()
    assert rows.stored == []
    assert [each.due_at for each in rows.advanced.values()] == [NOW + heartbeat_watch.RETRY_AFTER] * 2


async def test_after_an_outage_of_the_platform_a_new_period_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    returned = row(since=NOW - seconds(3))
    rows = Rows(monkeypatch, returned)
    await watch(rows).look()
    assert rows.stored == []
    awaited = rows.advanced[returned["id"]].decision.awaited
    assert (awaited.since, awaited.silent_since) == (NOW - seconds(3), NOW - seconds(3))
    assert rows.resumed == [returned["id"]], "it is not stale"


async def test_a_period_is_decided_and_stored_together(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows(monkeypatch, row())
    rows.unavailable = True
    with pytest.raises(OperationalError):
        await watch(rows).look()
    assert (rows.advanced, rows.committed) == ({}, 0)


async def test_without_due_heartbeats_there_is_no_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows(monkeypatch)
    assert await watch(rows).look() == 0
    assert rows.committed == 0


async def test_the_clock_is_checked_periodically(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    rows = Rows(monkeypatch)
    looking = watch(rows)
    checks = []
    for now in (0.0, 1.0, 10.0, 10.1, 11.0):  # noqa: B007 - read by the clock above
        await looking.look()
        checks.append(len(rows.statements))
    assert checks == [1, 1, 1, 2, 2]


def store(rows: Any) -> HeartbeatStore:
    return HeartbeatStore(rows)


async def test_a_heartbeat_is_stored_with_the_generation_of_its_target(monkeypatch: pytest.MonkeyPatch) -> None:
    known = row()
    rows = Rows(monkeypatch, known)
    assert await store(rows).receive("hb_a", Report(True, "disk full", 20)) == "stored"
    [result] = rows.stored
    probe = result.probe
    assert (probe.target, probe.status, probe.error, probe.detail, probe.duration_ms) == (
        str(known["id"]), "failed", "reported", "disk full", 20
    )  # fmt: skip
    assert (result.generation, rows.committed) == (3, 1)
    assert any("awaited_from = now()" in statement for statement in rows.statements)


@pytest.mark.parametrize(
    ("changes", "report", "receipt", "statements"),
    [
        ({"enabled": False}, Report(), "ignored", 0),
        ({"result_at": NOW - seconds(2), "awaited_from": NOW - seconds(2)}, Report(), "repeated", 1),
        ({"result_at": NOW - seconds(2), "awaited_from": NOW - seconds(0.5)}, Report(), "repeated", 0),
    ],
)
async def test_a_heartbeat_that_is_no_result_costs_little(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], report: Report, receipt: str, statements: int
) -> None:
    rows = Rows(monkeypatch, row(**changes))
    assert await store(rows).receive("hb_a", report) == receipt
    assert (rows.stored, rows.committed, len(rows.statements)) == ([], 0, statements)


async def test_a_failure_just_after_a_success_is_refused_rather_than_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows(monkeypatch, row(result_at=NOW - seconds(0.4)))
    with pytest.raises(TooEarlyError) as raised:
        await store(rows).receive("hb_a", Report(True))
    assert raised.value.wait == seconds(0.6)
    assert rows.stored == []


async def test_an_unknown_token_is_no_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows(monkeypatch)
    monkeypatch.setattr(rows, "one", lambda *_: asyncio.sleep(0))
    assert await store(rows).receive("hb_a", Report()) is None


JOB, PORT = HeartbeatSpec(), TcpSpec(host="a", port=1)


def target(spec: Spec, **settings: Any) -> Target:
    return Target.of(TargetSettings(name="a", spec=spec, **settings))


@pytest.mark.parametrize(
    ("before", "after", "statement"),
    [
        (target(PORT), target(PORT, interval_seconds=5), None),
        (target(JOB), target(JOB, tags=["a"]), None),
        (target(JOB), target(JOB, enabled=False), None),
        (target(JOB, enabled=False), target(JOB), "INSERT"),
        (target(JOB), target(JOB, interval_seconds=5), "INSERT"),
        (target(JOB), target(HeartbeatSpec(grace_seconds=0)), "INSERT"),
        (target(PORT), target(JOB), "INSERT"),
        (target(JOB), target(PORT), "DELETE"),
    ],
)
async def test_other_settings_start_a_new_period(
    monkeypatch: pytest.MonkeyPatch, before: Target, after: Target, statement: str | None
) -> None:
    rows: Any = Rows(monkeypatch)
    await heartbeat_store.follow(rows, before, after)
    assert [each.split()[0] for each in rows.statements] == ([statement] if statement else [])


async def test_only_targets_of_kind_heartbeat_await_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: Any = Rows(monkeypatch)
    await heartbeat_store.expect(rows, [target(PORT)])
    assert rows.statements == []
    await heartbeat_store.expect(rows, [target(PORT), target(JOB)])
    assert len(rows.statements) == 1


@pytest.mark.parametrize("draining", [False, True])
async def test_a_stopping_api_does_not_count_as_able_to_receive(
    monkeypatch: pytest.MonkeyPatch, draining: bool
) -> None:
    rows: Any = Rows(monkeypatch)
    monkeypatch.setattr(heartbeats, "BEAT_SECONDS", 0.01)
    lifecycle = Lifecycle()
    lifecycle.draining = draining
    with suppress(TimeoutError):
        await asyncio.wait_for(ReceptionBeat(rows, lifecycle).run(), 0.1)
    assert bool(rows.statements) is not draining
