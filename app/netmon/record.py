"""The record of a result: what it says, what follows from it, and the events that tell it, in one transaction.

Exactly once: a job that is delivered twice finds its probe finished, and changes nothing. The events are in the outbox
when this returns, or nothing is.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from netmon import histograms, tracing
from netmon.database import Connection, Database
from netmon.kafka import RESULTS, STATES
from netmon.models import RECENT, Point, Probe, Standing, StateChange
from netmon.states import State, next_state
from netmon.supervision import deadline

TIMEOUT = 4.0
"""Seconds for one transaction."""
ROLLUP_SECONDS = 300

_COLUMNS = tuple(name for name in Probe.model_fields if name != "standing")
_GIVEN = ("id", "url", "target", "kind", "requested_at", "trace_id")
_RESULT = tuple(name for name in _COLUMNS if name not in _GIVEN)


@dataclass(frozen=True, slots=True)
class _Watched:
    """What of a watched target matters to a result of it."""

    id: UUID
    name: str
    failures: int
    window: int
    standing: Standing


async def store(database: Database, probe: Probe) -> Probe:
    """Store a finished probe, and return the record: that of the first result where there was one already.

    Raises:
        psycopg.OperationalError, TimeoutError: the database is away; nothing is stored, as far as is known.
    """
    return await deadline(_store(database, probe), TIMEOUT)


async def _store(database: Database, probe: Probe) -> Probe:
    async with database.transaction() as connection:
        if not await _finish(connection, probe):
            stored = await database.get(probe.id)
            return stored or probe
        watched = await _watched(connection, probe)
        if watched is None:
            await _tell(connection, RESULTS, probe.target, probe.encode())
            return probe
        standing = _standing(watched, probe)
        probe = probe.model_copy(update={"standing": standing})
        await _write_standing(connection, watched.id, standing)
        await _count(connection, watched.id, probe)
        await _tell(connection, RESULTS, probe.target, probe.encode())
        if standing.state != watched.standing.state:
            await _record_incident(connection, watched.id, standing.state, probe)
            change = StateChange(
                target=watched.id,
                name=watched.name,
                previous=watched.standing.state,
                state=standing.state,
                at=standing.since,
                probe=probe.id,
                cause=probe.error or probe.warning,
                detail=probe.detail,
            )
            await _tell(connection, STATES, probe.target, change.encode())
        return probe


async def _finish(connection: Connection, probe: Probe) -> bool:
    """Whether this is the first result of its probe; its row is there afterwards in any case."""
    query = f"""
        INSERT INTO probes AS stored ({", ".join(_COLUMNS)}) VALUES ({", ".join(f"%({name})s" for name in _COLUMNS)})
        ON CONFLICT (id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _RESULT)}
        WHERE stored.status = 'queued'"""  # noqa: S608 - the names are this code's own
    cursor = await connection.execute(query.strip(), probe.model_dump(include=set(_COLUMNS)))
    return cursor.rowcount == 1


async def _watched(connection: Connection, probe: Probe) -> _Watched | None:
    """The target, its standing locked; None for a URL that was probed once, and for a target that is deleted."""
    try:
        target = UUID(probe.target)
    except ValueError:
        return None
    query = """
        SELECT targets.name, failures, "window", state, since, recent
        FROM standings JOIN targets ON targets.id = standings.target
        WHERE standings.target = %s FOR UPDATE OF standings"""
    row = await (await connection.execute(query.strip(), (target,))).fetchone()
    if row is None:
        return None
    standing = Standing(state=row["state"], since=row["since"], recent=row["recent"])
    return _Watched(target, row["name"], row["failures"], row["window"], standing)


def _standing(watched: _Watched, probe: Probe) -> Standing:
    """What the target's last results say, this one included."""
    before = watched.standing
    at = _finished_at(probe)
    point = Point(round(at.timestamp(), 3), probe.duration_ms or 0, probe.verdict)
    recent = [*before.recent, point][-RECENT:]
    state = next_state(before.state, [each.verdict for each in recent], watched.failures, watched.window)
    return Standing(state=state, since=before.since if state == before.state else at, recent=recent)


async def _write_standing(connection: Connection, target: UUID, standing: Standing) -> None:
    await connection.execute(
        "UPDATE standings SET state = %s, since = %s, recent = %s WHERE target = %s",
        (standing.state, standing.since, Jsonb(standing.recent), target),
    )


async def _count(connection: Connection, target: UUID, probe: Probe) -> None:
    """Add a result to the rollup of its five minutes."""
    at = _finished_at(probe)
    begins = datetime.fromtimestamp(at.timestamp() // ROLLUP_SECONDS * ROLLUP_SECONDS, at.tzinfo)
    failed = probe.status == "failed"
    latency = [0] * histograms.BUCKETS
    counted = ""
    if not failed:
        bucket = histograms.bucket_of(probe.duration_ms or 0)
        latency[bucket] = 1
        counted = f", latency[{bucket + 1}] = rollups.latency[{bucket + 1}] + 1"
    query = f"""
        INSERT INTO rollups (target, at, results, failed, latency) VALUES (%s, %s, 1, %s, %s)
        ON CONFLICT (target, at) DO UPDATE
        SET results = rollups.results + 1, failed = rollups.failed + excluded.failed{counted}"""  # noqa: S608 - a number
    await connection.execute(query.strip(), (target, begins, int(failed), latency))


async def _record_incident(connection: Connection, target: UUID, state: State, probe: Probe) -> None:
    """Begin, worsen or end the incident of a target that came into another state."""
    at = _finished_at(probe)
    if state in ("degraded", "down"):
        query = """
            INSERT INTO incidents AS open (target, state, started_at, cause, detail) VALUES (%s, %s, %s, %s, %s)
            ON CONFLICT (target) WHERE ended_at IS NULL DO UPDATE SET state = 'down' WHERE excluded.state = 'down'"""
        cause = probe.error or probe.warning or "recovering"
        await connection.execute(query.strip(), (target, state, at, cause, probe.detail))
    else:
        await connection.execute(
            "UPDATE incidents SET ended_at = greatest(%s, started_at) WHERE target = %s AND ended_at IS NULL",
            (at, target),
        )


async def _tell(connection: Connection, topic: str, key: str, value: bytes) -> None:
    """Put an event into the outbox, with the trace that it belongs to."""
    headers: dict[str, Any] = dict(tracing.carrier())
    await connection.execute(
        "INSERT INTO outbox (topic, key, value, headers) VALUES (%s, %s, %s, %s)", (topic, key, value, Jsonb(headers))
    )


def _finished_at(probe: Probe) -> datetime:
    if probe.finished_at is None:
        raise ValueError("only a finished probe is recorded")
    return probe.finished_at
