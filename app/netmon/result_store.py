"""Stores results together with everything derived from them: states, periods, rollups, incidents, events.

Exactly once: a probe that is finished again, because its job was redelivered, changes nothing. A result and
what is derived from it are stored in one transaction. The order of results is that of storing.

Results that arrive within 150 ms, or while a transaction is in progress, share the next transaction; the
result of an urgent probe ends the wait. Rows are locked in a fixed order to avoid deadlocks between workers.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self
from uuid import UUID

from psycopg import AsyncCursor

from netmon import histograms, outbox, standings, tracing
from netmon.database import (
    NOT_EXECUTED,
    REQUEST_COLUMNS,
    UNAVAILABLE_ERRORS,
    Connection,
    Database,
    Row,
    probes_by_id,
    rows_of,
)
from netmon.kafka import RESULTS, STATES
from netmon.models import RECENT_RESULTS, Point, Probe, Standing
from netmon.standings import LockedStanding
from netmon.states import PATIENCE, next_state, overdue_after
from netmon.supervision import deadline
from netmon.target_models import StateChange

TIMEOUT_SECONDS = 4.0
"""Timeout of a transaction."""
BATCH_SIZE = 200
"""Maximum number of results in a transaction."""
LINGER_SECONDS = 0.15
"""How long a result waits for others: most of the cost of a transaction is the same for one result as for fifty."""
URGENT_LINGER_SECONDS = 0.01
"""How long a result waits for others if a user waits for it, or for one of them."""
ROLLUP_SECONDS = 300

_COLUMNS = tuple(name for name in Probe.model_fields if name != "standing")
_RESULT_COLUMNS = tuple(name for name in _COLUMNS if name not in REQUEST_COLUMNS)


@dataclass(frozen=True, slots=True)
class PendingResult:
    """A finished probe that waits to be stored."""

    probe: Probe
    carrier: Mapping[str, str] = field(default_factory=tracing.carrier)
    """The trace context of the probe, as message headers."""
    stored: "asyncio.Future[Probe]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """The stored probe, once the transaction is committed."""
    generation: int | None = None
    """That of its job (`netmon.models.Job`)."""
    urgent: bool = False
    """Whether a user waits for it."""


class ResultStore:
    """Stores results for concurrent callers, several in each transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pending: list[PendingResult] = []
        self._turn = asyncio.Lock()
        self._hurry = asyncio.Event()
        """Set while the pending results should wait for no others: one is urgent, or they fill a transaction."""

    async def store(self, probe: Probe, generation: int | None = None, *, urgent: bool = False) -> Probe:
        """Store a finished probe, and return it as stored: with its standing, or the first result if there was one.

        Args:
            probe: the finished probe.
            generation: that of its job.
            urgent: whether a user waits for it; other results wait a little for more.

        Raises:
            psycopg.OperationalError, TimeoutError: the database is unavailable; as far as is known, nothing is stored.
        """
        result = PendingResult(probe, generation=generation, urgent=urgent)
        self._pending.append(result)
        self._update_hurry()
        async with self._turn:
            if not result.stored.done():
                await self._linger()
                # The caller whose turn it is stores the results of all that wait.
                batch, self._pending = self._pending[:BATCH_SIZE], self._pending[BATCH_SIZE:]
                self._update_hurry()
                try:
                    await self._store(batch)
                except asyncio.CancelledError:
                    self._pending[:0] = [each for each in batch if each is not result and not each.stored.done()]
                    self._update_hurry()
                    raise
        return await result.stored

    async def _linger(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS - URGENT_LINGER_SECONDS):
                await self._hurry.wait()
        await asyncio.sleep(URGENT_LINGER_SECONDS)

    def _update_hurry(self) -> None:
        if len(self._pending) >= BATCH_SIZE or any(result.urgent for result in self._pending):
            self._hurry.set()
        else:
            self._hurry.clear()

    async def _store(self, batch: Sequence[PendingResult]) -> None:
        try:
            probes = await store(self._database, batch)
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, UNAVAILABLE_ERRORS):
                # One of the results cannot be stored; store them one by one, so that only that one fails.
                for result in batch:
                    await self._store([result])
                return
            for result in batch:
                if not result.stored.done():
                    result.stored.set_exception(error)
        else:
            for result in batch:
                if not result.stored.done():
                    result.stored.set_result(probes[result.probe.id])


async def store(database: Database, results: Sequence[PendingResult]) -> dict[UUID, Probe]:
    """Store results in one transaction, and return the stored probes by their ids.

    Raises:
        psycopg.OperationalError, TimeoutError: the database is unavailable; as far as is known, nothing is stored.
    """
    return await deadline(_store(database, results), TIMEOUT_SECONDS)


async def _store(database: Database, results: Sequence[PendingResult]) -> dict[UUID, Probe]:
    async with database.pipeline() as connection:
        return await store_in(connection, results)


async def store_in(connection: Connection, results: Sequence[PendingResult]) -> dict[UUID, Probe]:
    """Store results in the transaction of a connection, as `store` does.

    Other rows of that transaction must be locked in the same order: standings by target, before anything else.
    """
    by_id: dict[UUID, PendingResult] = {}
    for result in results:
        by_id.setdefault(result.probe.id, result)
    finishing = await _finish(connection, [result.probe for result in by_id.values()])
    locking = await _lock_targets(connection, {result.probe.target for result in by_id.values()})
    first = {row["id"] async for row in finishing}
    transaction = _Transaction({str(row["target"]): _LockedTarget.of(row) async for row in locking})
    repeated = by_id.keys() - first
    probes = {probe.id: probe for probe in await probes_by_id(connection, repeated)} if repeated else {}
    for result in by_id.values():
        if result.probe.id in first:
            probes[result.probe.id] = transaction.add(result)
    await transaction.write(connection)
    return probes


async def _finish(connection: Connection, probes: Iterable[Probe]) -> AsyncCursor[Row]:
    """Store the probes; the cursor returns the ids of those without an earlier result."""
    query = f"""
        INSERT INTO probes AS stored ({", ".join(_COLUMNS)})
        SELECT {", ".join(_COLUMNS)} FROM jsonb_populate_recordset(NULL::probes, %s::jsonb) ORDER BY id
        ON CONFLICT (id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _RESULT_COLUMNS)}
        WHERE stored.status = 'queued' OR stored.error = '{NOT_EXECUTED}' RETURNING id"""  # noqa: S608 - the names are this code's own
    return await connection.execute(query.strip(), (rows_of(probes, set(_COLUMNS)),))


@dataclass(slots=True)
class _LockedTarget:
    """The columns of a monitored target that its results depend on, with its standing locked."""

    name: str
    enabled: bool
    failures: int
    window: int
    overdue_after: timedelta
    locked: LockedStanding

    @classmethod
    def of(cls, row: Row) -> Self:
        """From a row of `_lock_targets`."""
        overdue = overdue_after(row["interval_seconds"], row["patience_seconds"])
        return cls(row["name"], row["enabled"], row["failures"], row["window"], overdue, LockedStanding.of(row))

    @property
    def id(self) -> UUID:
        """The id of the target."""
        return self.locked.target

    @property
    def standing(self) -> Standing:
        """The current standing."""
        return self.locked.standing

    def add(self, result: PendingResult) -> None:
        """Update the standing with a result."""
        self.locked.latest = result.probe.id
        if self._accepts(result):
            self._apply(result.probe)
        else:
            self.locked.change(stored_at=self.locked.now)

    def _accepts(self, result: PendingResult) -> bool:
        """Whether a result may change the state.

        Not if the target is paused, or its standing was reset after the probe was requested.
        """
        if result.generation is None:  # the job of an earlier release
            reset_since = self.standing.state == "unknown" and result.probe.requested_at < self.standing.since
        else:
            reset_since = result.generation != self.locked.generation
        return self.enabled and not reset_since

    def _apply(self, probe: Probe) -> None:
        before, at = self.standing, self.time_of(probe)
        recent = [*before.recent, Point(round(at.timestamp(), 3), probe.duration_ms or 0, probe.verdict)]
        recent = recent[-RECENT_RESULTS:]
        state = next_state(before.state, [point.verdict for point in recent], self.failures, self.window)
        self.locked.change(
            stored_at=self.locked.now,
            state=state,
            since=before.since if state == before.state else min(max(at, before.since), self.locked.now),
            recent=recent,
            succeeded_at=before.succeeded_at if probe.verdict == "bad" else at,
        )
        self.locked.observe(self.locked.now + self.overdue_after)

    def time_of(self, probe: Probe) -> datetime:
        """When a probe was finished: by the clock of its worker, but not after the time of storing."""
        return min(_finished_at(probe), self.locked.now)


async def _lock_targets(connection: Connection, keys: Iterable[str]) -> AsyncCursor[Row]:
    """Lock the standings of the monitored targets among these keys; the cursor returns their rows.

    Other keys are those of URLs that were probed once, and of deleted targets.
    """
    query = f"""
        SELECT {standings.LOCKED_COLUMNS},
            name, enabled, failures, "window", interval_seconds, {PATIENCE} AS patience_seconds
        FROM standings JOIN targets ON targets.id = standings.target
        WHERE standings.target = ANY(%s) ORDER BY standings.target FOR UPDATE OF standings"""  # noqa: S608 - names of this code
    return await connection.execute(query.strip(), ([target for target in map(_uuid, keys) if target],))


def _uuid(key: str) -> UUID | None:
    try:
        return UUID(key)
    except ValueError:
        return None


@dataclass(slots=True)
class _Rollup:
    """The results of a target within ROLLUP_SECONDS, those of this transaction only."""

    results: int = 0
    failed: int = 0
    latency: list[int] = field(default_factory=lambda: [0] * histograms.BUCKETS)


class _Transaction:
    """Changes derived from first results: collected result by result, written together."""

    def __init__(self, targets: Mapping[str, _LockedTarget]) -> None:
        self._targets = targets
        self._rollups: dict[tuple[UUID, datetime], _Rollup] = {}
        self._changes: list[StateChange] = []
        self._events: list[outbox.OutboxEvent] = []

    def add(self, result: PendingResult) -> Probe:
        """Collect the changes of a result, and return its probe with the resulting standing."""
        probe, target = result.probe, self._targets.get(result.probe.target)
        if target is None:
            self._publish(RESULTS, probe, probe.target, result.carrier)
            return probe
        before = target.standing.state
        target.add(result)
        self._count(target.id, target.time_of(probe), probe)
        probe = probe.model_copy(update={"standing": target.standing})
        self._publish(RESULTS, probe, probe.target, result.carrier)
        if target.standing.state != before:
            change = StateChange(
                target=target.id,
                name=target.name,
                previous=before,
                state=target.standing.state,
                at=target.standing.since,
                version=target.standing.version,
                probe=probe.id,
                cause=probe.error or probe.warning,
                detail=probe.detail,
            )
            self._changes.append(change)
            self._publish(STATES, change, probe.target, result.carrier)
        return probe

    def _count(self, target: UUID, at: datetime, probe: Probe) -> None:
        begins = datetime.fromtimestamp(at.timestamp() // ROLLUP_SECONDS * ROLLUP_SECONDS, at.tzinfo)
        rollup = self._rollups.setdefault((target, begins), _Rollup())
        rollup.results += 1
        if probe.status == "failed":
            rollup.failed += 1
        else:
            rollup.latency[histograms.bucket_of(probe.duration_ms or 0)] += 1

    def _publish(self, topic: str, message: Probe | StateChange, key: str, carrier: Mapping[str, str]) -> None:
        self._events.append(outbox.OutboxEvent(topic, key, message.model_dump_json(), dict(carrier)))

    async def write(self, connection: Connection) -> None:
        """Write standings, rollups, incidents and events."""
        if self._rollups:
            changed = {target for target, _ in self._rollups}
            await standings.write(connection, (each.locked for each in self._targets.values() if each.id in changed))
            await self._write_rollups(connection)
        for change in self._changes:
            await _record_incident(connection, change)
        if self._events:
            await outbox.put(connection, self._events)

    async def _write_rollups(self, connection: Connection) -> None:
        """Add the results to their rollups."""
        query = """
            INSERT INTO rollups (target, at, results, failed, latency)
            SELECT target, at, results, failed, latency FROM jsonb_populate_recordset(NULL::rollups, %s::jsonb)
            ON CONFLICT (target, at) DO UPDATE SET
                results = rollups.results + excluded.results,
                failed = rollups.failed + excluded.failed,
                latency = (
                    SELECT array_agg(old + new ORDER BY bucket)
                    FROM unnest(rollups.latency, excluded.latency) WITH ORDINALITY AS both_of (old, new, bucket))"""
        rollups = [
            {
                "target": str(target),
                "at": at.isoformat(),
                "results": rollup.results,
                "failed": rollup.failed,
                "latency": rollup.latency,
            }
            for (target, at), rollup in self._rollups.items()
        ]
        await connection.execute(query.strip(), (json.dumps(rollups),))


async def _record_incident(connection: Connection, change: StateChange) -> None:
    """Open, escalate or close the incident of a target whose state has changed."""
    if change.state in ("degraded", "down"):
        query = """
            INSERT INTO incidents (target, state, started_at, cause, detail) VALUES (%s, %s, %s, %s, %s)
            ON CONFLICT (target) WHERE ended_at IS NULL DO UPDATE SET state = 'down' WHERE excluded.state = 'down'"""
        cause = change.cause or "recovering"
        await connection.execute(query.strip(), (change.target, change.state, change.at, cause, change.detail))
    else:
        query = "UPDATE incidents SET ended_at = greatest(%s, started_at) WHERE target = %s AND ended_at IS NULL"
        await connection.execute(query, (change.at, change.target))


def _finished_at(probe: Probe) -> datetime:
    if probe.finished_at is None:
        raise ValueError("only a finished probe can be stored")
    return probe.finished_at
