"""The record of results: what they say, what follows from them, and the events that tell it, in one transaction.

Exactly once: a probe that is finished again, because its job was delivered twice, changes nothing. Its events are in
the outbox once a result is stored, or neither is.

Results that come within a few milliseconds, or while a transaction is on its way, share the next one. Rows are locked
in one order, so that two workers with results in common do not bar each other.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self
from uuid import UUID

from psycopg import AsyncCursor

from netmon import histograms, outbox, tracing
from netmon.database import AWAY, Connection, Database, Row, stored
from netmon.kafka import RESULTS, STATES
from netmon.models import RECENT, Point, Probe, Standing, StateChange
from netmon.states import next_state
from netmon.supervision import deadline

TIMEOUT = 4.0
"""Seconds for one transaction."""
BATCH = 200
"""Results in one transaction, at most."""
GATHER = 0.01
"""Seconds that a result waits for others: most of the cost of a transaction is the same for one as for fifty."""
ROLLUP_SECONDS = 300

_COLUMNS = tuple(name for name in Probe.model_fields if name != "standing")
_GIVEN = ("id", "url", "target", "kind", "requested_at", "trace_id")
_RESULT = tuple(name for name in _COLUMNS if name not in _GIVEN)


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished probe, with the headers of the trace that it belongs to."""

    probe: Probe
    carrier: Mapping[str, str] = field(default_factory=tracing.carrier)


class Recorder:
    """Stores results one by one for its callers, and several in a transaction for the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Entry] = []
        self._turn = asyncio.Lock()

    async def store(self, probe: Probe) -> Probe:
        """Store a finished probe, and return the record: that of the first result where there was one already.

        Raises:
            psycopg.OperationalError, TimeoutError: the database is away; nothing is stored, as far as is known.
        """
        entry = _Entry(Finished(probe), asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        async with self._turn:
            if not entry.record.done():
                await asyncio.sleep(GATHER)
                # Whoever has the turn stores what waits, for all.
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                try:
                    await self._store(batch)
                except asyncio.CancelledError:
                    self._waiting[:0] = [each for each in batch if each is not entry and not each.record.done()]
                    raise
        return await entry.record

    async def _store(self, batch: "Sequence[_Entry]") -> None:
        try:
            records = await store(self._database, [entry.result for entry in batch])
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, AWAY):
                # One of them cannot be stored, and the others must not suffer for it.
                for entry in batch:
                    await self._store([entry])
                return
            for entry in batch:
                if not entry.record.done():
                    entry.record.set_exception(error)
        else:
            for entry in batch:
                if not entry.record.done():
                    entry.record.set_result(records[entry.result.probe.id])


@dataclass(frozen=True, slots=True)
class _Entry:
    """A result that waits to be stored."""

    result: Finished
    record: "asyncio.Future[Probe]"


async def store(database: Database, results: Sequence[Finished]) -> dict[UUID, Probe]:
    """Store finished probes in one transaction, and return the records by their ids.

    Raises:
        psycopg.OperationalError, TimeoutError: the database is away; nothing is stored, as far as is known.
    """
    return await deadline(_store(database, results), TIMEOUT)


async def _store(database: Database, results: Sequence[Finished]) -> dict[UUID, Probe]:
    given: dict[UUID, Finished] = {}
    for result in results:
        given.setdefault(result.probe.id, result)
    async with database.pipeline() as connection:
        finishing = await _finish(connection, [result.probe for result in given.values()])
        watching = await _watch(connection, {result.probe.target for result in given.values()})
        first = {row["id"] async for row in finishing}
        transaction = _Transaction({str(row["id"]): _Watched.of(row) async for row in watching})
        known = given.keys() - first
        records = {probe.id: probe for probe in await stored(connection, known)} if known else {}
        for result in sorted((given[each] for each in first), key=lambda each: _finished_at(each.probe)):
            records[result.probe.id] = transaction.add(result)
        await transaction.write(connection)
    return records


async def _finish(connection: Connection, probes: Iterable[Probe]) -> AsyncCursor[Row]:
    """The ids of those of which this is the first result; the rows of all are there afterwards."""
    query = f"""
        INSERT INTO probes AS stored ({", ".join(_COLUMNS)})
        SELECT {", ".join(_COLUMNS)} FROM jsonb_populate_recordset(NULL::probes, %s::jsonb) ORDER BY id
        ON CONFLICT (id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _RESULT)}
        WHERE stored.status = 'queued' RETURNING id"""  # noqa: S608 - the names are this code's own
    records = f"[{','.join(probe.model_dump_json(exclude={'standing'}) for probe in probes)}]"
    return await connection.execute(query.strip(), (records,))


@dataclass(slots=True)
class _Watched:
    """A watched target, as far as it matters to its results; its standing is the current one."""

    id: UUID
    name: str
    enabled: bool
    failures: int
    window: int
    standing: Standing

    @classmethod
    def of(cls, row: Row) -> Self:
        """What a row says."""
        standing = Standing(state=row["state"], since=row["since"], recent=row["recent"])
        return cls(row["id"], row["name"], row["enabled"], row["failures"], row["window"], standing)

    def is_told_by(self, probe: Probe) -> bool:
        """Whether a result is one of the target as it is now.

        It is not where the target is paused, or has begun anew since the probe was asked for.
        """
        begun_anew = self.standing.state == "unknown" and probe.requested_at < self.standing.since
        return self.enabled and not begun_anew

    def take(self, probe: Probe) -> None:
        """Let a result change the standing."""
        before, at = self.standing, _finished_at(probe)
        recent = [*before.recent, Point(round(at.timestamp(), 3), probe.duration_ms or 0, probe.verdict)][-RECENT:]
        state = next_state(before.state, [point.verdict for point in recent], self.failures, self.window)
        since = before.since if state == before.state else at
        self.standing = Standing.model_construct(state=state, since=since, recent=recent)  # of what is valid already


async def _watch(connection: Connection, keys: Iterable[str]) -> AsyncCursor[Row]:
    """The targets with these keys that are watched, their standings locked.

    The others are URLs that were probed once, and targets that have been deleted.
    """
    query = """
        SELECT targets.id, targets.name, enabled, failures, "window", state, since, recent
        FROM standings JOIN targets ON targets.id = standings.target
        WHERE standings.target = ANY(%s) ORDER BY standings.target FOR UPDATE OF standings"""
    return await connection.execute(query.strip(), ([target for target in map(_uuid, keys) if target],))


def _uuid(key: str) -> UUID | None:
    try:
        return UUID(key)
    except ValueError:
        return None


@dataclass(slots=True)
class _Rollup:
    """The results of a target in five minutes, as far as they are of this transaction."""

    results: int = 0
    failed: int = 0
    latency: list[int] = field(default_factory=lambda: [0] * histograms.BUCKETS)


class _Transaction:
    """What follows from first results: collected one result after another, written at once."""

    def __init__(self, watched: Mapping[str, _Watched]) -> None:
        self._watched = watched
        self._rollups: dict[tuple[UUID, datetime], _Rollup] = {}
        self._changes: list[StateChange] = []
        self._events: list[outbox.Event] = []

    def add(self, result: Finished) -> Probe:
        """Take a result, and return it with the standing that it led to."""
        probe, target = result.probe, self._watched.get(result.probe.target)
        if target is None:
            self._tell(RESULTS, probe, probe.target, result.carrier)
            return probe
        before = target.standing.state
        if target.is_told_by(probe):
            target.take(probe)
        self._count(target.id, probe)
        probe = probe.model_copy(update={"standing": target.standing})
        self._tell(RESULTS, probe, probe.target, result.carrier)
        if target.standing.state != before:
            change = StateChange(
                target=target.id,
                name=target.name,
                previous=before,
                state=target.standing.state,
                at=target.standing.since,
                probe=probe.id,
                cause=probe.error or probe.warning,
                detail=probe.detail,
            )
            self._changes.append(change)
            self._tell(STATES, change, probe.target, result.carrier)
        return probe

    def _count(self, target: UUID, probe: Probe) -> None:
        at = _finished_at(probe)
        begins = datetime.fromtimestamp(at.timestamp() // ROLLUP_SECONDS * ROLLUP_SECONDS, at.tzinfo)
        rollup = self._rollups.setdefault((target, begins), _Rollup())
        rollup.results += 1
        if probe.status == "failed":
            rollup.failed += 1
        else:
            rollup.latency[histograms.bucket_of(probe.duration_ms or 0)] += 1

    def _tell(self, topic: str, message: Probe | StateChange, key: str, carrier: Mapping[str, str]) -> None:
        self._events.append(outbox.Event(topic, key, message.model_dump_json(), dict(carrier)))

    async def write(self, connection: Connection) -> None:
        """Write standings, rollups, incidents and events."""
        if self._rollups:
            await self._write_standings(connection)
            await self._write_rollups(connection)
        for change in self._changes:
            await _record_incident(connection, change)
        if self._events:
            await outbox.put(connection, self._events)

    async def _write_standings(self, connection: Connection) -> None:
        query = """
            UPDATE standings SET state = new.state, since = new.since, recent = new.recent
            FROM jsonb_to_recordset(%s::jsonb) AS new (target uuid, state text, since timestamptz, recent jsonb)
            WHERE standings.target = new.target"""
        standings = ",".join(
            f'{{"target":"{target.id}",{target.standing.model_dump_json()[1:]}' for target in self._watched.values()
        )
        await connection.execute(query.strip(), (f"[{standings}]",))

    async def _write_rollups(self, connection: Connection) -> None:
        """Add to the rollups of the five minutes that the results are of."""
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
    """Begin, worsen or end the incident of a target that came into another state."""
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
        raise ValueError("only a finished probe is recorded")
    return probe.finished_at
