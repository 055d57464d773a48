"""The latest state of each target, in Redis: a projection of the events, rebuilt from them or from the record."""

from opentelemetry.trace import SpanKind
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from netmon import tracing
from netmon.models import Probe

KEYS = "netmon:"
"""What the keys of the application begin with: its account has no right to others."""
TIME_TO_LIVE = 24 * 3600
"""Seconds a state is kept without a new event; the record has it for longer."""

# Compares and sets in one step, since events of one target can arrive late, twice, or in two workers.
_PUT = """
local known = redis.call('HGET', KEYS[1], 'at')
if known and tonumber(known) >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'at', ARGV[1], 'state', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""


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
        microseconds = round(probe.finished_at.timestamp() * 1_000_000)
        with tracing.span("EVAL", SpanKind.CLIENT, {"db.system.name": "redis", "db.operation.name": "EVAL"}):
            # Not by the script's digest: Redis forgets scripts when it restarts.
            applied = await self._redis.eval(_PUT, 1, _key(probe.target), microseconds, probe.encode(), TIME_TO_LIVE)
        return bool(applied)

    async def get(self, target: str) -> Probe | None:
        """The state of a target, if it is known here."""
        state = await self._redis.hget(_key(target), "state")
        return Probe.decode(state) if state else None

    async def check(self) -> None:
        """Raise unless Redis answers."""
        await self._redis.ping()

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


def _key(target: str) -> str:
    return f"{KEYS}latest:{target}"
