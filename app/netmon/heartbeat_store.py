"""Stores heartbeats in PostgreSQL: their URLs, the awaited heartbeats, and the results.

A heartbeat and its derived data are committed before it is answered, like any result; neither Redis nor a broker is
needed. Rows are locked in the order of `netmon.target_store`: the standing, the target, the heartbeat.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from uuid import UUID, uuid4

from netmon import heartbeats, tracing
from netmon.database import QUERY_TIMEOUT_SECONDS, UNAVAILABLE_ERRORS, Connection, Database, Row
from netmon.health import Lifecycle
from netmon.models import Outcome, Probe
from netmon.result_store import PendingResult, store_in
from netmon.specs import HeartbeatSpec
from netmon.states import PATIENCE
from netmon.supervision import Backoff, deadline, describe
from netmon.target_models import Target

DUE_AT = f"make_interval(secs => interval_seconds + {PATIENCE} + {heartbeats.BEAT_SECONDS})"
"""SQL: the time from the start of a period until a worker looks whether it was silent: the reception has reached it."""
MIN_UPDATE_SPACING = timedelta(seconds=1)
"""How often heartbeats that are not stored move the start of the period."""

_READ = """
    SELECT id, enabled, slow_ms, generation, heartbeats.stored_at AS result_at, succeeded, awaited_from, now() AS now
    FROM heartbeats JOIN targets ON id = heartbeats.target JOIN standings ON standings.target = id
    WHERE token_hash = %s""".strip()
_CONTINUES = f"""
    excluded.until - heartbeat_reception.until BETWEEN interval '-1 s' AND interval '{heartbeats.GAP.seconds} s'"""
_BEAT = f"""
    INSERT INTO heartbeat_reception (since, until) SELECT now(), now() WHERE EXISTS (SELECT FROM heartbeats)
    ON CONFLICT (single) DO UPDATE SET
        since = CASE WHEN {_CONTINUES} THEN heartbeat_reception.since ELSE excluded.since END,
        until = CASE WHEN {_CONTINUES} THEN greatest(heartbeat_reception.until, excluded.until)
            ELSE excluded.until END"""  # noqa: S608 - names of this code


@dataclass(frozen=True, slots=True)
class Report:
    """The report of a job."""

    failed: bool = False
    message: str = ""
    duration_ms: float | None = None


Receipt = Literal["stored", "repeated", "ignored"]
"""What became of a heartbeat: it is a result; it repeats one of the last seconds; the target is paused."""


class TooEarlyError(Exception):
    """A heartbeat differs from one that was received just before, and is not stored."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__()
        self.wait = wait


class HeartbeatStore:
    """Receives heartbeats, and changes heartbeat URLs.

    Every method raises `psycopg.OperationalError` or `TimeoutError` while the database is unavailable.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def renew(self, target: UUID) -> str | None:
        """Give a target a new token, which replaces its former one; None if it is no target of kind heartbeat."""
        token = heartbeats.new_token()
        return token if await self._set_hash(target, heartbeats.hash_of(token)) else None

    async def revoke(self, target: UUID) -> bool:
        """Remove the token of a target; returns whether it is a target of kind heartbeat."""
        return await self._set_hash(target, None)

    async def receive(self, token: str, report: Report) -> Receipt | None:
        """Receive a heartbeat; None if no target has the token.

        Raises:
            TooEarlyError: the heartbeat was not stored.
        """
        return await deadline(self._receive(heartbeats.hash_of(token), report), QUERY_TIMEOUT_SECONDS)

    async def _set_hash(self, target: UUID, token_hash: bytes | None) -> bool:
        query = "UPDATE heartbeats SET token_hash = %s WHERE target = %s RETURNING target"
        changed = await deadline(self._database.one(query, (token_hash, target)), QUERY_TIMEOUT_SECONDS)
        return changed is not None

    async def _receive(self, token_hash: bytes, report: Report) -> Receipt | None:
        row = await self._database.one(_READ, (token_hash,))
        if row is None:
            return None
        # A flood of heartbeats costs a lookup each: it locks and writes nothing.
        receipt = _unless_stored(row, report)
        if receipt is None:
            return await self._store(token_hash, report)
        if receipt == "repeated" and row["now"] - row["awaited_from"] > MIN_UPDATE_SPACING:
            query = "UPDATE heartbeats SET silent_since = now(), awaited_from = now() WHERE target = %(target)s"
            await self._database.run(query, {"target": row["id"]})
        return receipt

    async def _store(self, token_hash: bytes, report: Report) -> Receipt | None:
        lock = """
            SELECT standings.target FROM standings JOIN heartbeats ON heartbeats.target = standings.target
            WHERE token_hash = %s FOR UPDATE OF standings"""
        update = """
            UPDATE heartbeats SET silent_since = now(), awaited_from = now(), stored_at = now(), succeeded = %s
            WHERE target = %s"""
        async with self._database.transaction() as connection:
            await connection.execute(lock.strip(), (token_hash,))
            # Read again: another heartbeat may have been stored, or the URL revoked, while this one waited.
            row = await (await connection.execute(_READ, (token_hash,))).fetchone()
            receipt = _unless_stored(row, report) if row else None
            if row is None or receipt is not None:
                return receipt
            outcome = heartbeats.received(
                row["now"],
                failed=report.failed,
                message=report.message,
                duration_ms=report.duration_ms,
                slow_ms=row["slow_ms"],
            )
            probe = heartbeat_result(row["id"], outcome)
            await store_in(connection, [PendingResult(probe, generation=row["generation"])])
            await connection.execute(update.strip(), (not report.failed, row["id"]))
        return "stored"


def _unless_stored(row: Row, report: Report) -> Receipt | None:
    """What becomes of a heartbeat that is not stored; None if it is.

    Raises:
        TooEarlyError: it differs from the last one, which was stored just before.
    """
    if not row["enabled"]:
        return "ignored"
    success = not report.failed
    wait = heartbeats.wait_before(row["result_at"], row["succeeded"], row["now"], success=success)
    if wait <= timedelta(0):
        return None
    if success != row["succeeded"]:
        raise TooEarlyError(wait)
    return "repeated"


def heartbeat_result(target: UUID, outcome: Outcome) -> Probe:
    """The record of a heartbeat or of a silent period."""
    spec = HeartbeatSpec()
    return Probe(
        id=uuid4(),
        url=spec.address,
        target=str(target),
        kind=spec.kind,
        requested_at=outcome.finished_at,
        trace_id=tracing.ids().get("trace_id"),
    ).finished(outcome)


async def expect(connection: Connection, targets: Iterable[Target]) -> None:
    """Expect heartbeats from now on: of those of the targets that are of kind heartbeat."""
    awaited = [target.id for target in targets if isinstance(target.spec, HeartbeatSpec)]
    if not awaited:
        return
    query = f"""
        INSERT INTO heartbeats (target, due_at) SELECT id, now() + {DUE_AT} FROM targets WHERE id = ANY(%s)
        ON CONFLICT (target) DO UPDATE
        SET silent_since = now(), awaited_from = now(), due_at = excluded.due_at"""  # noqa: S608 - names of this code
    await connection.execute(query.strip(), (awaited,))


async def follow(connection: Connection, before: Target, after: Target) -> None:
    """Follow a change of a target: other settings start a new period; another kind has no URL."""
    if not isinstance(after.spec, HeartbeatSpec):
        if isinstance(before.spec, HeartbeatSpec):
            await connection.execute("DELETE FROM heartbeats WHERE target = %s", (after.id,))
        return
    resumed = after.enabled and not before.enabled
    if resumed or (before.spec, before.interval_seconds) != (after.spec, after.interval_seconds):
        await expect(connection, [after])


class ReceptionBeat:
    """Records every BEAT_SECONDS that this replica of the API can receive heartbeats, unless it is stopping."""

    def __init__(self, database: Database, lifecycle: Lifecycle) -> None:
        self._database = database
        self._lifecycle = lifecycle

    async def run(self) -> None:
        """Record until cancelled."""
        backoff = Backoff("database")
        while True:
            await asyncio.sleep(heartbeats.BEAT_SECONDS)
            try:
                with tracing.untraced():
                    if not self._lifecycle.draining:
                        await deadline(self._database.run(_BEAT, {}), QUERY_TIMEOUT_SECONDS)
            except UNAVAILABLE_ERRORS as error:
                await backoff.failed(describe(error))
