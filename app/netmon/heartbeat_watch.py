"""Missing heartbeats: the workers search for heartbeats that did not arrive in time, and store failed results.

Every worker searches; the standing of a target is locked while one decides. The awaited heartbeat changes in the
transaction that stores the result, so each period is decided once. RabbitMQ is not needed.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from netmon import heartbeats, metrics, standings, tracing
from netmon.database import UNAVAILABLE_ERRORS, Connection, Database, Row
from netmon.heartbeat_store import DUE_AT, heartbeat_result
from netmon.heartbeats import Awaited, Decision, Reception, decide
from netmon.logs import logger
from netmon.models import CLOCK_TOLERANCE
from netmon.result_store import PendingResult, store_in
from netmon.states import PATIENCE
from netmon.supervision import Backoff, deadline, describe

WATCH_SECONDS = 1.0
BATCH_SIZE = 100
TIMEOUT_SECONDS = 6.0
"""Timeout of a batch."""
RETRY_AFTER = timedelta(seconds=5)
"""When a worker looks again, if heartbeats could not be received in the meantime."""
CLOCK_CHECK_SECONDS = 10.0
"""How often a clock that was set back is looked for."""

_DUE = "heartbeats.due_at <= now() AND enabled"
# The due ones first: otherwise each of thousands of targets is looked up among few heartbeats, every second.
_ANY_DUE = """
    WITH due AS MATERIALIZED (SELECT target FROM heartbeats WHERE due_at <= now())
    SELECT EXISTS (SELECT FROM due JOIN targets ON id = target WHERE enabled)"""

log = logger(__name__)


class DueHeartbeat(NamedTuple):
    """A target whose heartbeat is due, and the decision about it."""

    target: UUID
    generation: int
    before: Awaited
    decision: Decision
    now: datetime

    @property
    def restarts(self) -> bool:
        """Whether a new period starts without a decision about the former one."""
        return not self.decision.silent and self.decision.awaited != self.before

    @property
    def due_at(self) -> datetime:
        """When a worker looks next."""
        after = self.decision.awaited
        next_due = after.deadline + timedelta(seconds=heartbeats.BEAT_SECONDS)
        return next_due if next_due > self.now else self.now + RETRY_AFTER


class HeartbeatWatch:
    """Looks for silent periods."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._clock_checked_at = -math.inf

    async def run(self) -> None:
        """Look every WATCH_SECONDS until cancelled."""
        backoff = Backoff("database")
        while True:
            try:
                with tracing.untraced():
                    found = await deadline(self.look(), TIMEOUT_SECONDS)
            except UNAVAILABLE_ERRORS as error:
                await backoff.failed(describe(error))
                continue
            await asyncio.sleep(0 if found == BATCH_SIZE else WATCH_SECONDS)

    async def look(self) -> int:
        """Decide about the heartbeats that are due and not locked by another worker; returns their number."""
        if time.monotonic() - self._clock_checked_at > CLOCK_CHECK_SECONDS:
            await self._database.run(_FOLLOW_CLOCK, {"tolerance": CLOCK_TOLERANCE})
            self._clock_checked_at = time.monotonic()
        row = await self._database.one(_ANY_DUE, ())
        if not row or not row["exists"]:
            return 0
        async with self._database.transaction() as connection:
            due = [_decided(row) for row in await _claim(connection)]
            silent = [each for each in due if each.decision.silent]
            await store_in(connection, [_result(each) for each in silent])
            await _resume(connection, [each.target for each in due if each.restarts])
            await _advance(connection, due)
        for each in silent:
            metrics.HEARTBEATS.labels("silent").inc()
            log.info("heartbeat missing", target=str(each.target))
        return len(due)


def _decided(row: Row) -> DueHeartbeat:
    # Without the spec, so that one of a later release, which this one cannot read, stops no worker.
    interval, grace = timedelta(seconds=row["interval_seconds"]), timedelta(seconds=row["patience_seconds"])
    awaited = Awaited(row["awaited_from"], row["silent_since"], interval, grace)
    reception = Reception(row["since"], row["until"]) if row["since"] else None
    return DueHeartbeat(row["target"], row["generation"], awaited, decide(awaited, reception), row["now"])


def _result(due: DueHeartbeat) -> PendingResult:
    probe = heartbeat_result(due.target, heartbeats.silence(due.before, due.now))
    return PendingResult(probe, generation=due.generation)


async def _claim(connection: Connection) -> list[Row]:
    """Lock the standings of targets whose heartbeats are due, and read the awaited heartbeats."""
    lock = f"""
        SELECT standings.target FROM standings
        JOIN heartbeats ON heartbeats.target = standings.target JOIN targets ON id = standings.target
        WHERE {_DUE} ORDER BY heartbeats.due_at LIMIT {BATCH_SIZE} FOR UPDATE OF standings SKIP LOCKED"""  # noqa: S608 - names of this code
    locked = [row["target"] for row in await (await connection.execute(lock.strip())).fetchall()]
    # Read after the lock: another worker may have decided, or a heartbeat have come, in the meantime.
    read = f"""
        SELECT heartbeats.target, silent_since, awaited_from, reception.since, until, generation, interval_seconds,
            {PATIENCE} AS patience_seconds, now() AS now
        FROM heartbeats JOIN targets ON id = heartbeats.target JOIN standings ON standings.target = id
        LEFT JOIN heartbeat_reception AS reception ON true
        WHERE heartbeats.target = ANY(%s) AND {_DUE}
        ORDER BY heartbeats.target FOR UPDATE OF heartbeats"""  # noqa: S608 - names of this code
    return await (await connection.execute(read.strip(), (locked,))).fetchall()


async def _resume(connection: Connection, targets: Sequence[UUID]) -> None:
    """Expect results from now on: after an outage of the platform a job that runs once a day is not stale for a day."""
    found = [await standings.lock(connection, target) for target in targets]
    resumed = [each for each in found if each is not None]
    for each in resumed:
        each.resume()
    await standings.write(connection, resumed)


async def _advance(connection: Connection, due: Sequence[DueHeartbeat]) -> None:
    query = """
        UPDATE heartbeats SET awaited_from = new.awaited_from, silent_since = new.silent_since, due_at = new.due_at
        FROM unnest(%s::uuid[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[])
            AS new (target, awaited_from, silent_since, due_at)
        WHERE heartbeats.target = new.target"""
    rows = [(each.target, each.decision.awaited.since, each.decision.awaited.silent_since, each.due_at) for each in due]
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
    await connection.execute(query.strip(), columns)


# Periods that begin later than now, because the clock was set back, begin now.
_FOLLOW_CLOCK = f"""
    UPDATE heartbeats SET awaited_from = now(), silent_since = least(silent_since, now()), due_at = now() + {DUE_AT}
    FROM targets WHERE id = target AND target IN (
        SELECT target FROM heartbeats WHERE awaited_from > now() + %(tolerance)s FOR UPDATE SKIP LOCKED)"""  # noqa: S608 - names of this code
