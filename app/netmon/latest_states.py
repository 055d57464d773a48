"""The latest state of each target in Redis: a projection of the events, which PostgreSQL can restore."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, Self

from opentelemetry.trace import Span, SpanKind, get_current_span
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from netmon import tracing
from netmon.models import CLOCK_TOLERANCE, Probe, Standing

KEY_PREFIX = "netmon:"
"""Prefix of all keys of the application, whose Redis account has no access to other keys."""
TTL_SECONDS = 2 * 24 * 3600
"""Time to live of a state without a new event: twice the longest interval. PostgreSQL keeps it for longer."""

# Compares and sets atomically, since events of a target can arrive late, repeatedly, or in two workers. A time in the
# future, by a clock that was set back since, is replaced by any other.
_PUT = """
local applied = {}
for number, key in ipairs(KEYS) do
    local at, ordered, since, state = unpack(ARGV, 4 * number - 1, 4 * number + 2)
    local known = tonumber(redis.call('HGET', key, 'at'))
    local future = known and known > tonumber(ARGV[1]) and redis.call('HGET', key, 'ordered') ~= 'version'
    if known and known >= tonumber(at) and not future then
        applied[number] = 0
    else
        redis.call('HSET', key, 'at', at, 'ordered', ordered, 'since', since, 'state', state)
        redis.call('EXPIRE', key, ARGV[2])
        applied[number] = 1
    end
end
return applied
"""
_GET = """
local found = {}
for number, field in ipairs({'at', 'ordered', 'since', 'state'}) do
    found[number] = redis.call('HGET', KEYS[1], field)
end
return found
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def connect(url: str) -> Redis:
    """A client that fails within about a second, and retries once after a broken connection."""
    return Redis.from_url(
        url,
        socket_timeout=0.7,
        socket_connect_timeout=0.7,
        retry=Retry(NoBackoff(), 1),
        max_connections=50,
    )


class _Update(NamedTuple):
    """A state of a target; an empty one means that the target has had no result since `since`.

    States of a monitored target are ordered by the version of their standing. Those of a URL, which has no standing,
    and those from a release without versions, are ordered by time. Both numbers are microseconds, so that each is
    higher than earlier ones of the other kind (`netmon.standings.next_version`), and the former release can compare
    them.
    """

    target: str
    at: int
    ordered: Literal["version", "time"]
    since: int
    state: bytes

    @classmethod
    def of(cls, target: str, version: int, since: datetime, state: bytes) -> Self:
        moment = _microseconds(since)
        return cls(target, version or moment, "version" if version else "time", moment, state)


class LatestStates:
    """Reads and writes latest states. Every method raises `redis.RedisError` while Redis is unavailable."""

    def __init__(self, url: str) -> None:
        self._redis = connect(url)

    async def put(self, *probes: Probe, spans: Iterable[Span] | None = None) -> list[bool]:
        """Store finished probes as the states of their targets, in order, unless a later one is stored.

        Args:
            probes: finished probes; several of one target must be in their order.
            spans: the spans that the write is traced under; the current one by default.

        Returns:
            Whether each probe was applied. If this method raises, some may have been.
        """
        return await self._put([_update(probe) for probe in probes], spans)

    async def put_unknown(self, target: str, standing: Standing) -> bool:
        """Store that a target has had no result since its standing was reset, unless a later state is stored.

        Returns:
            Whether it was applied.
        """
        [applied] = await self._put([_Update.of(target, standing.version, standing.since, b"")])
        return applied

    async def get(self, target: str) -> Probe | None:
        """The last finished probe of a target; None if none is stored."""
        state = await self._redis.hget(_key(target), "state")
        return Probe.decode(state) if state else None

    async def get_state(self, target: str) -> Probe | Standing | None:
        """The state of a target: a standing if it has had no result, None if no state is stored."""
        at, ordered, since, state = await self._redis.eval(_GET, 1, _key(target))
        if at is None:
            return None
        if state:
            return Probe.decode(state)
        # The former release stores no `since`, which is its `at`.
        moment = _EPOCH + int(since or at) * _MICROSECOND
        return Standing(since=moment, version=int(at) if ordered == b"version" else 0)

    async def delete(self, target: str) -> None:
        """Delete the state of a target."""
        await self._redis.delete(_key(target))

    async def check(self) -> None:
        """Raise unless Redis answers."""
        await self._redis.ping()

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _put(self, updates: Sequence[_Update], spans: Iterable[Span] | None = None) -> list[bool]:
        parents = [get_current_span()] if spans is None else spans
        attributes = {"db.system.name": "redis", "db.operation.name": "EVAL"}
        with tracing.shared_span("EVAL", SpanKind.CLIENT, attributes, parents):
            # EVAL rather than EVALSHA: Redis loses cached scripts when it restarts.
            applied = await self._redis.eval(
                _PUT,
                len(updates),
                *(_key(update.target) for update in updates),
                _microseconds(datetime.now(UTC) + CLOCK_TOLERANCE),
                TTL_SECONDS,
                *(argument for update in updates for argument in update[1:]),
            )
        return [bool(each) for each in applied]


def _update(probe: Probe) -> _Update:
    if probe.finished_at is None:
        raise ValueError("only a finished probe can be stored as a state")
    version = probe.standing.version if probe.standing else 0
    return _Update.of(probe.target, version, probe.finished_at, probe.encode())


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _key(target: str) -> str:
    return f"{KEY_PREFIX}latest:{target}"
