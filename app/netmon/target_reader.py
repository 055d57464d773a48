"""The read side of the API and the status page: from the cache if possible, otherwise from PostgreSQL.

The list of targets and their latest states are separate in Redis: the list changes when a user changes it, the states
change with every result. While Redis is unavailable both are read from PostgreSQL, which only takes longer.
"""

from collections.abc import Sequence
from typing import TypeVar, get_args
from uuid import UUID

from pydantic import TypeAdapter
from redis import RedisError

from netmon import metrics, tracing
from netmon.cache import Cached, CacheStatus, SharedCache
from netmon.database import Database
from netmon.history_store import HistoryStore, Span, Window
from netmon.latest_states import LatestStates
from netmon.logs import logger
from netmon.models import Incident, Probe, Series, Standing, Statistics, Target, TargetView
from netmon.supervision import describe
from netmon.target_store import Snapshot, TargetChange, TargetStore

LIST_MAX_AGE_SECONDS = 60
"""Maximum age of the list of targets. Changes invalidate it; it is older only if Redis missed the invalidation."""
STATISTICS_MAX_AGE_SECONDS = 10
"""Maximum age of statistics and series."""

log = logger(__name__)

T = TypeVar("T")

_Targets = TypeAdapter(list[Target])


class UnknownTargetError(LookupError):
    """There is no target with this id."""


class TargetReader:
    """Reads targets with their states, statistics and incidents, and invalidates the cache when targets change.

    Every method raises `psycopg.OperationalError` or `TimeoutError` if it needs the database while that is unavailable.
    """

    def __init__(self, database: Database, latest: LatestStates, cache: SharedCache) -> None:
        self._database = database
        self._store = TargetStore(database)
        self._history = HistoryStore(database)
        self._latest = latest
        self._cache = cache
        self._decoded: tuple[bytes, dict[UUID, Target]] = b"", {}
        """The last list from the cache, encoded and decoded."""

    async def targets(self) -> Cached[list[TargetView]]:
        """All targets by name."""
        targets, status = await self._targets()
        return _counted("targets", await self._views(list(targets.values()), status))

    async def target(self, target: UUID) -> Cached[TargetView | None]:
        """The target with this id."""
        targets, status = await self._targets()
        views, status = await self._views([targets[target]] if target in targets else [], status)
        return _counted("target", Cached(views[0] if views else None, status))

    async def latest(self, key: str) -> Cached[Probe | None]:
        """The last finished probe of a target, by the id of the target or the key of a URL."""
        status: CacheStatus
        try:
            probe = await self._latest.get(key)
            status = "hit" if probe else "miss"
        except (RedisError, OSError) as error:
            log.debug("cache bypassed", reason=describe(error))
            probe, status = None, "bypass"
        metrics.LATEST_LOOKUPS.labels(status).inc()
        tracing.annotate("netmon.cache", status)
        if probe is None:
            probe = await self._stored_latest(key)
            if probe and status == "miss":
                await self._refill([probe])
        return Cached(probe, status)

    async def statistics(self, target: UUID, window: Window) -> Cached[Statistics]:
        """Statistics of a target within the window that ends now, at most STATISTICS_MAX_AGE_SECONDS old.

        Raises:
            UnknownTargetError: there is no such target.
        """

        async def load() -> bytes | None:
            loaded = await self._history.statistics(target, window)
            return loaded.model_dump_json().encode() if loaded else None

        content, status = await self._cache.get(_statistics_key(target, window), STATISTICS_MAX_AGE_SECONDS, load)
        if content is None:
            raise UnknownTargetError(target)
        return _counted("statistics", Cached(Statistics.model_validate_json(content), status))

    async def fresh_statistics(self, targets: Sequence[UUID], window: Window) -> dict[UUID, Statistics]:
        """The statistics that are fresh in the cache, in one round trip; `statistics` loads the missing ones."""
        keys = {_statistics_key(target, window): target for target in targets}
        contents = await self._cache.fresh(list(keys))
        return {
            keys[key]: _counted("statistics", Cached(Statistics.model_validate_json(content), "hit")).value
            for key, content in contents.items()
        }

    async def series(self, target: UUID, span: Span) -> Series:
        """Durations and failures over the span that ends now, at most STATISTICS_MAX_AGE_SECONDS old.

        Raises:
            UnknownTargetError: there is no such target.
        """

        async def load() -> bytes | None:
            loaded = await self._history.series(target, span)
            return loaded.model_dump_json().encode() if loaded else None

        content, status = await self._cache.get(_series_key(target, span), STATISTICS_MAX_AGE_SECONDS, load)
        if content is None:
            raise UnknownTargetError(target)
        return _counted("series", Cached(Series.model_validate_json(content), status)).value

    async def incidents(self, target: UUID | None, limit: int) -> list[Incident]:
        """The incidents of a target, or of all targets, newest first."""
        return await self._history.incidents(target, limit)

    async def added(self) -> None:
        """Invalidate the list after a target was added."""
        await self._cache.invalidate("targets")

    async def changed(self, change: TargetChange) -> None:
        """Invalidate the list, and the state if it was reset, after a target was changed."""
        await self._cache.invalidate("targets")
        if change.reset_at:
            try:
                await self._latest.put_unknown(str(change.target.id), change.reset_at)
            except (RedisError, OSError) as error:
                log.warning("cache invalidation failed", target=str(change.target.id), reason=describe(error))

    async def deleted(self, target: UUID) -> None:
        """Invalidate everything of a target after it was deleted."""
        statistics = [_statistics_key(target, window) for window in get_args(Window)]
        series = [_series_key(target, span) for span in get_args(Span)]
        await self._cache.invalidate("targets", *statistics, *series)
        try:
            await self._latest.delete(str(target))
        except (RedisError, OSError) as error:
            log.warning("cache invalidation failed", target=str(target), reason=describe(error))

    async def _targets(self) -> Cached[dict[UUID, Target]]:
        async def load() -> bytes | None:
            return _Targets.dump_json([target.masked() for target in await self._store.all()])

        content, status = await self._cache.get("targets", LIST_MAX_AGE_SECONDS, load)
        if content != self._decoded[0]:
            self._decoded = content or b"", {each.id: each for each in _Targets.validate_json(content or b"[]")}
        return Cached(self._decoded[1], status)

    async def _views(self, targets: Sequence[Target], status: CacheStatus) -> Cached[list[TargetView]]:
        """Combine targets with their states; `status` is that of the targets, the result has the worse of the two."""
        try:
            states = await self._latest.get_many([str(target.id) for target in targets])
        except (RedisError, OSError) as error:
            log.debug("cache bypassed", reason=describe(error))
            states, status = [None] * len(targets), "bypass"
        snapshots = {
            target.id: snapshot
            for target, state in zip(targets, states, strict=True)
            if (snapshot := _cached_snapshot(state))
        }
        if missing := [target.id for target in targets if target.id not in snapshots]:
            stored = await self._store.snapshots(missing)
            snapshots |= stored
            if status != "bypass":
                status = "miss"
                await self._refill([each.latest or (target, each.standing) for target, each in stored.items()])
        views = [
            TargetView.combine(target, snapshots[target.id].standing, snapshots[target.id].latest)
            for target in targets
            if target.id in snapshots
        ]
        return Cached(views, status)

    async def _stored_latest(self, key: str) -> Probe | None:
        try:
            snapshots = (await self._store.snapshots([UUID(key)])).values()
        except ValueError:
            snapshots = {}.values()
        return next((each.latest for each in snapshots), None) or await self._database.latest(key)

    async def _refill(self, states: Sequence[Probe | tuple[UUID, Standing]]) -> None:
        try:
            for state in states:
                if isinstance(state, Probe):
                    await self._latest.put(state)
                else:
                    await self._latest.put_unknown(str(state[0]), state[1].since)
        except (RedisError, OSError) as error:
            log.debug("cache not filled", reason=describe(error))


def _cached_snapshot(state: Probe | Standing | None) -> Snapshot | None:
    """The snapshot in a cached state; none in a probe of an earlier release, which carries no standing."""
    if isinstance(state, Standing):
        return Snapshot(state, None)
    return Snapshot(state.standing, state) if state and state.standing else None


def _counted(response: str, cached: Cached[T]) -> Cached[T]:
    """Count a lookup by its response and status, and annotate the span of the request."""
    metrics.CACHE_LOOKUPS.labels(response, cached.status).inc()
    tracing.annotate("netmon.cache", cached.status)
    return cached


def _statistics_key(target: UUID, window: Window) -> str:
    return f"statistics:{target}:{window}"


def _series_key(target: UUID, span: Span) -> str:
    return f"series:{target}:{span}"
