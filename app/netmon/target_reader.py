"""What is told of targets: from the cache, without a question to the database, else from the record.

The list of targets and their latest states are two things in Redis: the list changes when somebody changes it, the
states with every result. Where Redis is away, both come from the record: that takes longer, and nothing else.
"""

from collections.abc import Sequence
from uuid import UUID

from pydantic import TypeAdapter
from redis import RedisError

from netmon import metrics, tracing
from netmon.cache import Cache, SharedCache
from netmon.database import Database
from netmon.history_store import History, Span, Window
from netmon.latest_states import LatestStates
from netmon.logs import logger
from netmon.models import Incident, Probe, Series, Standing, Statistics, Target, TargetView
from netmon.supervision import describe
from netmon.target_store import Change, Known, Watched

LIST_SECONDS = 60
"""How long the list is not asked for again. A change is seen at once; only one that Redis did not learn of waits."""
FIGURES_SECONDS = 10
"""How old statistics and series may be."""

log = logger(__name__)

_Targets = TypeAdapter(list[Target])


class UnknownTargetError(LookupError):
    """There is no such target."""


class Reading:
    """Reads what is known of targets.

    Every method raises `psycopg.OperationalError` or `TimeoutError` where it needs the database, and that is away.
    """

    def __init__(self, database: Database, latest: LatestStates, cache: SharedCache) -> None:
        self._database = database
        self._watched = Watched(database)
        self._history = History(database)
        self._latest = latest
        self._cache = cache
        self._decoded: tuple[bytes, dict[UUID, Target]] = b"", {}

    async def targets(self) -> tuple[list[TargetView], Cache]:
        """Every target by name, with what is known of it."""
        targets, listed = await self._targets()
        views, cache = await self._views(list(targets.values()), listed)
        return views, _told("targets", cache)

    async def target(self, target: UUID) -> tuple[TargetView | None, Cache]:
        """One target, with what is known of it."""
        targets, listed = await self._targets()
        views, cache = await self._views([targets[target]] if target in targets else [], listed)
        return (views[0] if views else None), _told("target", cache)

    async def latest(self, key: str) -> tuple[Probe | None, Cache]:
        """The last finished probe of a target, by the target's id or by the key of a URL."""
        cache: Cache
        try:
            probe = await self._latest.get(key)
            cache = "hit" if probe else "miss"
        except (RedisError, OSError) as error:
            log.debug("cache bypassed", reason=describe(error))
            probe, cache = None, "bypass"
        metrics.LATEST_LOOKUPS.labels(cache).inc()
        tracing.annotate("netmon.cache", cache)
        if probe is None:
            probe = await self._last(key)
            if probe and cache == "miss":
                await self._refill([probe])
        return probe, cache

    async def statistics(self, target: UUID, window: Window) -> tuple[Statistics, Cache]:
        """Of the results of a target within the window that ends now; see FIGURES_SECONDS.

        Raises:
            UnknownTargetError: there is no such target.
        """

        async def load() -> bytes | None:
            loaded = await self._history.statistics(target, window)
            return loaded.model_dump_json().encode() if loaded else None

        answer, cache = await self._cache.get(_statistics(target, window), FIGURES_SECONDS, load)
        if answer is None:
            raise UnknownTargetError(target)
        return Statistics.model_validate_json(answer), _told("statistics", cache)

    async def fresh_statistics(self, targets: Sequence[UUID], window: Window) -> dict[UUID, Statistics]:
        """Statistics of those of the targets of which the cache has them; the others are to be asked for one by one."""
        keys = {_statistics(target, window): target for target in targets}
        answers = await self._cache.fresh(list(keys))
        for _ in answers:
            _told("statistics", "hit")
        return {keys[key]: Statistics.model_validate_json(answer) for key, answer in answers.items()}

    async def series(self, target: UUID, span: Span) -> Series:
        """Durations and failures over the span that ends now; see FIGURES_SECONDS.

        Raises:
            UnknownTargetError: there is no such target.
        """

        async def load() -> bytes | None:
            loaded = await self._history.series(target, span)
            return loaded.model_dump_json().encode() if loaded else None

        answer, cache = await self._cache.get(_series(target, span), FIGURES_SECONDS, load)
        if answer is None:
            raise UnknownTargetError(target)
        _told("series", cache)
        return Series.model_validate_json(answer)

    async def incidents(self, target: UUID | None, limit: int) -> list[Incident]:
        """The incidents of a target, or of all, newest first."""
        return await self._history.incidents(target, limit)

    async def added(self) -> None:
        """Let everybody see the list as it is now."""
        await self._cache.forget("targets")

    async def changed(self, change: Change) -> None:
        """Let everybody see a target as it is now."""
        await self._cache.forget("targets")
        if change.begun_anew:
            try:
                await self._latest.put_unknown(str(change.target.id), change.begun_anew)
            except (RedisError, OSError) as error:
                log.warning("cache not told of a change", reason=describe(error))

    async def deleted(self, target: UUID) -> None:
        """Let nobody see anything of a target any more."""
        windows, spans = Window.__args__, Span.__args__  # type: ignore[attr-defined]
        figures = [_statistics(target, window) for window in windows] + [_series(target, span) for span in spans]
        await self._cache.forget("targets", *figures)
        try:
            await self._latest.forget(str(target))
        except (RedisError, OSError) as error:
            log.warning("cache not told of a change", reason=describe(error))

    async def _targets(self) -> tuple[dict[UUID, Target], Cache]:
        async def load() -> bytes | None:
            return _Targets.dump_json([target.masked() for target in await self._watched.all()])

        answer, cache = await self._cache.get("targets", LIST_SECONDS, load)
        if answer != self._decoded[0]:
            self._decoded = answer or b"", {each.id: each for each in _Targets.validate_json(answer or b"[]")}
        return self._decoded[1], cache

    async def _views(self, targets: Sequence[Target], listed: Cache) -> tuple[list[TargetView], Cache]:
        """These targets with what is known of them; where the worse of the two parts came from."""
        try:
            states = await self._latest.of([str(target.id) for target in targets])
        except (RedisError, OSError) as error:
            log.debug("cache bypassed", reason=describe(error))
            states, listed = [None] * len(targets), "bypass"
        found = {target.id: known for target, state in zip(targets, states, strict=True) if (known := _known(state))}
        if missing := [target.id for target in targets if target.id not in found]:
            recorded = await self._watched.known(missing)
            found |= recorded
            if listed != "bypass":
                listed = "miss"
                await self._refill([known.latest or (each, known.standing) for each, known in recorded.items()])
        views = [
            TargetView.of_known(target, found[target.id].standing, found[target.id].latest)
            for target in targets
            if target.id in found
        ]
        return views, listed

    async def _last(self, key: str) -> Probe | None:
        try:
            watched = (await self._watched.known([UUID(key)])).values()
        except ValueError:
            watched = {}.values()
        return next(iter(known.latest for known in watched), None) or await self._database.latest(key)

    async def _refill(self, states: Sequence[Probe | tuple[UUID, Standing]]) -> None:
        try:
            for state in states:
                if isinstance(state, Probe):
                    await self._latest.put(state)
                else:
                    await self._latest.put_unknown(str(state[0]), state[1].since)
        except (RedisError, OSError) as error:
            log.debug("cache not filled", reason=describe(error))


def _known(state: Probe | Standing | None) -> Known | None:
    """What the cache knows; a probe of an earlier release carries no standing."""
    if isinstance(state, Standing):
        return Known(state, None)
    return Known(state.standing, state) if state and state.standing else None


def _told(answer: str, cache: Cache) -> Cache:
    metrics.CACHE_LOOKUPS.labels(answer, cache).inc()
    tracing.annotate("netmon.cache", cache)
    return cache


def _statistics(target: UUID, window: Window) -> str:
    return f"statistics:{target}:{window}"


def _series(target: UUID, span: Span) -> str:
    return f"series:{target}:{span}"
