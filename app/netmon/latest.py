"""The latest state of each target, in Redis: a projection of the events, rebuilt from them or from the record."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from opentelemetry.trace import SpanKind
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from netmon import tracing
from netmon.models import Probe, Standing

KEYS = "netmon:"
"""What the keys of the application begin with: its account has no right to others."""
TIME_TO_LIVE = 2 * 24 * 3600
"""Seconds a state is kept without a new event, twice the longest interval; the record has it for longer."""

# Compares and sets in one step, since events of one target can arrive late, twice, or in two workers.
_PUT = """
local known = redis.call('HGET', KEYS[1], 'at')
if known and tonumber(known) >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'at', ARGV[1], 'state', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""
_GET = """
local states = {}
for number, key in ipairs(KEYS) do
    states[2 * number - 1] = redis.call('HGET', key, 'at')
    states[2 * number] = redis.call('HGET', key, 'state')
end
return states
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def connect(url: str) -> Redis:
    """A client that answers or fails within a second and retries a broken connection once."""
    return Redis.from_url(
        url,
        socket_timeout=0.7,
        socket_connect_timeout=0.7,
        retry=Retry(NoBackoff(), 1),
        max_connections=50,
    )


class LatestStates:
    """Reads and writes latest states. Every method raises `redis.RedisError` while Redis is away."""

    def __init__(self, url: str) -> None:
        self._redis = connect(url)

    async def put(self, probe: Probe) -> bool:
        """Make a finished probe its target's state, unless a later one is known; whether it was applied."""
        if probe.finished_at is None:
            raise ValueError("only a finished probe is a state")
        return await self._put(probe.target, probe.finished_at, probe.encode())

    async def put_unknown(self, target: str, since: datetime) -> bool:
        """Let a target have no result since then, unless a later one is known; whether it was applied."""
        return await self._put(target, since, b"")

    async def get(self, target: str) -> Probe | None:
        """The state of a target, if it is known here."""
        state = await self._redis.hget(_key(target), "state")
        return Probe.decode(state) if state else None

    async def of(self, targets: Sequence[str]) -> list[Probe | Standing | None]:
        """The states of targets, in their order: a bare standing of one without a result, None where none is known."""
        if not targets:
            return []
        found = await self._redis.eval(_GET, len(targets), *map(_key, targets))
        return [_state(at, state) for at, state in zip(found[::2], found[1::2], strict=True)]

    async def forget(self, target: str) -> None:
        """Know nothing of a target any more."""
        await self._redis.delete(_key(target))

    async def check(self) -> None:
        """Raise unless Redis answers."""
        await self._redis.ping()

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _put(self, target: str, at: datetime, state: bytes) -> bool:
        with tracing.span("EVAL", SpanKind.CLIENT, {"db.system.name": "redis", "db.operation.name": "EVAL"}):
            # Not by the script's digest: Redis forgets scripts when it restarts.
            microseconds = (at - _EPOCH) // _MICROSECOND
            applied = await self._redis.eval(_PUT, 1, _key(target), microseconds, state, TIME_TO_LIVE)
        return bool(applied)


def _key(target: str) -> str:
    return f"{KEYS}latest:{target}"


def _state(at: bytes | None, state: bytes | None) -> Probe | Standing | None:
    if at is None:
        return None
    return Probe.decode(state) if state else Standing(since=_EPOCH + int(at) * _MICROSECOND)
