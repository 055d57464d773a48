"""The read side of the API and the status page: from the cache if possible, otherwise from PostgreSQL.

A list of targets with their states is read from PostgreSQL as a whole. The first pages of the status page and of the
API, the ones that are read most, are cached as a whole too: a request is one lookup. Further pages and searches are not
cached, so that clients cannot fill Redis with them.

A single target and its latest state are separate in Redis: the target changes when a user changes it, the state changes
with every result. While Redis is unavailable both are read from PostgreSQL, which only takes longer.
"""

from collections.abc import Sequence
from typing import TypeVar, get_args
from uuid import UUID

from redis import RedisError

from netmon import metrics, tracing
from netmon.cache import Cached, CacheStatus, SharedCache
from netmon.database import Database
from netmon.history import Series, Statistics
from netmon.history_store import WINDOWS, HistoryStore, Span, Window
from netmon.latest_states import LatestStates
from netmon.logs import logger
from netmon.models import Probe, Standing
from netmon.public_status import MAX_INCIDENTS, MAX_TARGETS, SPANS, PublicStatus
from netmon.supervision import describe
from netmon.target_lists import DEFAULT_PAGE_SIZE, OVERVIEW_PAGE_SIZE, TargetFilter, TargetLists
from netmon.target_models import Incident, Overview, Target, TargetPage, TargetView
from netmon.target_store import Snapshot, TargetChange, TargetStore
from netmon.uptime import NamedUptime, TargetUptime
from netmon.uptime_store import UptimeStore

LIST_MAX_AGE_SECONDS = 2
"""Maximum age of the first page of a list: states change all the time, and a client that polls does so less often."""
TARGET_MAX_AGE_SECONDS = 10
"""Maximum age of a target. Changes invalidate it; it is older only if Redis missed the invalidation."""
STATISTICS_MAX_AGE_SECONDS = 10
"""Maximum age of statistics and series."""

_FORM, _PREVIOUS_FORM = "4:", "3:"
"""Prefixes of keys: during a deploy two releases share the cache, and the previous one cannot read these models."""
_OVERVIEW, _FIRST_PAGE = f"{_FORM}overview", f"{_FORM}targets:first"
_PUBLIC = f"{_FORM}public"
_LISTS = (_OVERVIEW, _FIRST_PAGE, _PUBLIC, f"{_PREVIOUS_FORM}overview", f"{_PREVIOUS_FORM}targets:first")

log = logger(__name__)

T = TypeVar("T")


class UnknownTargetError(LookupError):
    """There is no target with this id."""


class TargetReader:
    """Reads targets with their states, statistics and incidents, and invalidates the cache when targets change.

    Every method raises `psycopg.OperationalError` or `TimeoutError` if it needs the database while that is unavailable.
    """

    def __init__(self, database: Database, latest: LatestStates, cache: SharedCache) -> None:
        self._database = database
        self._store = TargetStore(database)
        self._lists = TargetLists(database)
        self._history = HistoryStore(database)
        self._uptime = UptimeStore(database)
        self._latest = latest
        self._cache = cache

    async def targets(self, chosen: TargetFilter, after: str, limit: int, *, whole: bool = False) -> Cached[TargetPage]:
        """Up to `limit` targets by name: those whose names follow `after`.

        With `whole`, the queries of their URLs are not masked. The cache has masked ones only, so a page with such a
        target is read from the database.
        """
        if (chosen, after, limit) != (TargetFilter(), "", DEFAULT_PAGE_SIZE):
            return _counted("targets", Cached(await self._page(chosen, after, limit, whole=whole), "miss"))

        async def load() -> bytes | None:
            return (await self._page(chosen, after, limit)).model_dump_json().encode()

        content, status = await self._cache.get(_FIRST_PAGE, LIST_MAX_AGE_SECONDS, load)
        page = TargetPage.model_validate_json(content or b"")
        if whole and any(target.spec.has_masked_queries for target in page.targets):
            page, status = await self._page(chosen, after, limit, whole=True), "miss"
        return _counted("targets", Cached(page, status))

    async def overview(self, chosen: TargetFilter, page: int) -> Cached[Overview]:
        """A page of the targets by urgency, starting at 1; the figures of all targets are those of the first page."""

        async def load() -> bytes | None:
            return (await self._first_overview()).model_dump_json().encode()

        content, status = await self._cache.get(_OVERVIEW, LIST_MAX_AGE_SECONDS, load)
        first = Overview.model_validate_json(content or b"")
        if (chosen, page) == (TargetFilter(), 1):
            return _counted("overview", Cached(first, status))
        counts = await self._lists.counts(chosen) if chosen.text or chosen.tag else first.counts
        matching = counts[chosen.state] if chosen.state else sum(counts.values())
        offset = (page - 1) * OVERVIEW_PAGE_SIZE
        targets = await self._lists.by_urgency(chosen, counts, offset, OVERVIEW_PAGE_SIZE)
        uptimes = await self._uptimes(targets)
        found = first.model_copy(update={"targets": targets, "uptimes": uptimes, "matching": matching})
        return _counted("overview", Cached(found, "miss"))

    async def public_status(self) -> Cached[PublicStatus]:
        """The targets on the public status page."""

        async def load() -> bytes | None:
            targets = await self._lists.public(MAX_TARGETS)
            ids = [target.id for target in targets]
            uptimes = [await self._uptime.percents(ids, span) for span in SPANS]
            incidents = await self._history.incidents(None, MAX_INCIDENTS, public=True)
            return PublicStatus.of(targets, uptimes, incidents).model_dump_json().encode()

        content, status = await self._cache.get(_PUBLIC, LIST_MAX_AGE_SECONDS, load)
        return _counted("public", Cached(PublicStatus.model_validate_json(content or b""), status))

    async def target(self, target: UUID, *, whole: bool = False) -> Cached[TargetView | None]:
        """The target with this id; with `whole` as in `targets`."""

        async def load() -> bytes | None:
            found = await self._store.get(target)
            return found.for_readers().model_dump_json().encode() if found else None

        content, status = await self._cache.get(_target_keys(target)[0], TARGET_MAX_AGE_SECONDS, load)
        settings = Target.model_validate_json(content) if content is not None else None
        if settings and whole and settings.spec.has_masked_queries:
            settings, status = await self._store.get(target), "miss"
        if settings is None:
            return _counted("target", Cached(None, status))
        found, status = await self._snapshot(settings, status)
        if found is None:
            return _counted("target", Cached(None, status))
        view = TargetView.combine(settings, found.standing, found.latest, found.stored_at, whole=whole)
        return _counted("target", Cached(view, status))

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
                await self._refill(probe)
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

    async def uptime(self, target: UUID) -> Cached[TargetUptime]:
        """The uptime of a target, at most STATISTICS_MAX_AGE_SECONDS old.

        Raises:
            UnknownTargetError: there is no such target.
        """

        async def load() -> bytes | None:
            loaded = await self._uptime.target(target)
            return loaded.model_dump_json().encode() if loaded else None

        content, status = await self._cache.get(_uptime_key(target), STATISTICS_MAX_AGE_SECONDS, load)
        if content is None:
            raise UnknownTargetError(target)
        return _counted("uptime", Cached(TargetUptime.model_validate_json(content), status))

    async def uptimes(self, chosen: TargetFilter, period: str, after: str, limit: int) -> list[NamedUptime]:
        """The uptime of up to `limit` targets within a period, by name: those whose names follow `after`."""
        return await self._uptime.page(chosen, period, after, limit)

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
        """Invalidate the lists after a target was added."""
        await self._cache.invalidate(*_LISTS)

    async def changed(self, *changes: TargetChange, deleted: Sequence[UUID] = ()) -> None:
        """Invalidate the lists and the targets after changes: the states of those that were reset, too.

        Args:
            changes: the targets that were changed.
            deleted: the targets that were deleted, of which everything is invalidated.
        """
        keys = [key for change in changes for key in _target_keys(change.target.id)]
        keys += [key for target in deleted for key in _all_keys(target)]
        await self._cache.invalidate(*_LISTS, *keys)
        try:
            for change in changes:
                if change.reset:
                    await self._latest.put_unknown(str(change.target.id), change.reset)
            for target in deleted:
                await self._latest.delete(str(target))
        except (RedisError, OSError) as error:
            log.warning("cache invalidation failed", targets=len(changes) + len(deleted), reason=describe(error))

    async def maintenance_changed(self, targets: Sequence[UUID]) -> None:
        """Invalidate targets and the lists after the periods of maintenance of these targets have changed."""
        await self._cache.invalidate(*_LISTS, *(key for target in targets for key in _target_keys(target)))

    async def deleted(self, target: UUID) -> None:
        """Invalidate everything of a target after it was deleted."""
        await self.changed(deleted=[target])

    async def _page(self, chosen: TargetFilter, after: str, limit: int, *, whole: bool = False) -> TargetPage:
        found = await self._lists.by_name(chosen, after, limit + 1, whole=whole)
        return TargetPage(targets=found[:limit], is_last=len(found) <= limit)

    async def _first_overview(self) -> Overview:
        counts = await self._lists.counts(TargetFilter())
        targets = await self._lists.by_urgency(TargetFilter(), counts, 0, OVERVIEW_PAGE_SIZE)
        return Overview(
            targets=targets,
            uptimes=await self._uptimes(targets),
            matching=sum(counts.values()),
            counts=counts,
            open_incidents=await self._history.open_incidents(),
            stored_at=await self._lists.stored_at(),
        )

    async def _uptimes(self, targets: Sequence[TargetView]) -> dict[UUID, float]:
        return await self._uptime.percents([target.id for target in targets], WINDOWS["24h"])

    async def _snapshot(self, settings: Target, status: CacheStatus) -> Cached[Snapshot | None]:
        """The latest state of a target; `status` is that of the target, the result has the worse of the two.

        A stale state in the cache may be late rather than the latest, so it is read from the database.
        """
        target = settings.id
        try:
            found = _cached_snapshot(await self._latest.get_state(str(target)))
            if found and settings.is_stale(found.stored_at):
                found = None
        except (RedisError, OSError) as error:
            log.debug("cache bypassed", reason=describe(error))
            found, status = None, "bypass"
        if found is None:
            found = await self._store.snapshot(target)
            if found and status != "bypass":
                status = "miss"
                await self._refill(found.latest or (target, found.standing))
        return Cached(found, status)

    async def _stored_latest(self, key: str) -> Probe | None:
        try:
            found = await self._store.snapshot(UUID(key))
        except ValueError:
            found = None
        return (found and found.latest) or await self._database.latest(key)

    async def _refill(self, state: Probe | tuple[UUID, Standing]) -> None:
        try:
            if isinstance(state, Probe):
                await self._latest.put(state)
            else:
                await self._latest.put_unknown(str(state[0]), state[1])
        except (RedisError, OSError) as error:
            log.debug("cache not filled", reason=describe(error))


def _cached_snapshot(state: Probe | Standing | None) -> Snapshot | None:
    """The snapshot in a cached state; none in a probe of an earlier release, which carries no standing."""
    if isinstance(state, Standing):
        return Snapshot(state, None, state.since)
    if state and state.standing and state.finished_at:
        return Snapshot(state.standing, state, state.standing.stored_at or state.finished_at)
    return None


def _counted(response: str, cached: Cached[T]) -> Cached[T]:
    """Count a lookup by its response and status, and annotate the span of the request."""
    metrics.CACHE_LOOKUPS.labels(response, cached.status).inc()
    tracing.annotate("netmon.cache", cached.status)
    return cached


def _target_keys(target: UUID) -> tuple[str, str]:
    """The key of a target, and that of the previous release."""
    return f"{_FORM}target:{target}", f"{_PREVIOUS_FORM}target:{target}"


def _all_keys(target: UUID) -> list[str]:
    statistics = [_statistics_key(target, window) for window in get_args(Window)]
    series = [_series_key(target, span) for span in get_args(Span)]
    return [*_target_keys(target), *statistics, *series, _uptime_key(target)]


def _statistics_key(target: UUID, window: Window) -> str:
    return f"statistics:{target}:{window}"


def _series_key(target: UUID, span: Span) -> str:
    return f"{_FORM}series:{target}:{span}"


def _uptime_key(target: UUID) -> str:
    return f"uptime:{target}"
