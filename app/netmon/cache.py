"""A shared cache of API responses in Redis: fresh for a time, then stale until the next one is loaded.

To prevent a cache stampede, each replica loads a response once, however many requests need it at the same time: the
others get the stale response or, without one, wait for the same load. While the database is unavailable, the stale
response is served.

Invalidations take precedence over loads: `invalidate` writes a marker that no load that began earlier can replace.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, Self, TypeVar
from uuid import uuid4

from redis import RedisError

from netmon.latest_states import KEY_PREFIX, connect
from netmon.logs import logger
from netmon.supervision import describe

T = TypeVar("T")

CacheStatus = Literal["hit", "miss", "bypass"]
"""Source of a response: the cache; the database, as the cache had no entry; the database, as Redis is unavailable."""


class Cached(NamedTuple, Generic[T]):
    """A response and its source, which the API reports in the header `X-Cache`."""

    value: T
    status: CacheStatus


Load = Callable[[], Awaitable[bytes | None]]
"""Loads a response from the database; returns None if there is nothing to cache."""

RETENTION_SECONDS = 24 * 3600
"""How long an entry is kept, fresh or stale."""
REFRESH_WAIT_SECONDS = 0.5
"""How long the first request for a stale response waits for the new one."""

# Sets a key unless it has changed since the load began. The first line of an entry is unique to it.
_SET = """
local known = redis.call('GET', KEYS[1]) or ''
if (string.match(known, '^[^\\n]*\\n') or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""
_SET_ALL = """
for number, key in ipairs(KEYS) do redis.call('SET', key, ARGV[number + 1], 'EX', ARGV[1]) end
return #KEYS
"""
_BATCH_SIZE = 1000
"""Keys that are set at once, which takes Redis about a millisecond."""

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class _Entry:
    """The value of a key: a line with a unique id and the end of its freshness, and the response; a marker has none."""

    line: bytes = b""
    response: bytes = b""

    @classmethod
    def parse(cls, content: bytes | str | None) -> Self:
        line, newline, response = (content.encode() if isinstance(content, str) else content or b"").partition(b"\n")
        return cls(line + newline, response)

    @classmethod
    def of(cls, response: bytes, fresh_seconds: float) -> Self:
        return cls(f"{uuid4().hex} {time.time() + fresh_seconds:.3f}\n".encode(), response)

    @property
    def fresh(self) -> bool:
        return bool(self.response) and float(self.line.split()[1]) > time.time()

    @property
    def content(self) -> bytes:
        return self.line + self.response


class SharedCache:
    """Responses by key, shared by all replicas."""

    def __init__(self, url: str) -> None:
        self._redis = connect(url)
        self._loads: dict[tuple[str, bytes], asyncio.Task[bytes | None]] = {}
        self._pending_invalidations: set[str] = set()
        """Keys that were invalidated while Redis was unavailable, which may still have the old entries."""

    async def get(self, key: str, fresh_seconds: float, load: Load) -> Cached[bytes | None]:
        """The response of a key; it is loaded unless one was loaded within `fresh_seconds`.

        Raises:
            psycopg.OperationalError, TimeoutError: there is no entry, and the database is unavailable.
        """
        try:
            if key in self._pending_invalidations:
                await self._invalidate(key)
            content = await self._redis.get(_name(key))
        except (RedisError, OSError) as error:
            log.debug("cache bypassed", key=key, reason=describe(error))
            return Cached(await asyncio.shield(self._load_once(key, b"", load)), "bypass")
        entry = _Entry.parse(content)
        if entry.fresh:
            return Cached(entry.response, "hit")

        async def refill() -> bytes | None:
            response = await load()
            if response is not None:
                await self._set(key, entry.line, _Entry.of(response, fresh_seconds))
            return response

        is_loading = (key, entry.line) in self._loads
        loading = self._load_once(key, entry.line, refill)
        if not entry.response:
            return Cached(await asyncio.shield(loading), "miss")
        if not is_loading:
            await asyncio.wait({loading}, timeout=REFRESH_WAIT_SECONDS)
            if loading.done() and not loading.exception():
                return Cached(loading.result(), "miss")
        return Cached(entry.response, "hit")

    async def invalidate(self, *keys: str) -> None:
        """Invalidate the entries of these keys, so that the next request loads them."""
        for key in keys:
            for load in [load for load in self._loads if load[0] == key]:
                del self._loads[load]
        self._pending_invalidations.update(keys)
        try:
            for start in range(0, len(keys), _BATCH_SIZE):
                await self._invalidate(*keys[start : start + _BATCH_SIZE])
        except (RedisError, OSError) as error:
            log.warning("cache invalidation failed, retrying at the next read", keys=keys[:20], reason=describe(error))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _invalidate(self, *keys: str) -> None:
        markers = [_Entry.of(b"", 0).content for _ in keys]
        await self._redis.eval(_SET_ALL, len(keys), *map(_name, keys), RETENTION_SECONDS, *markers)
        self._pending_invalidations.difference_update(keys)

    def _load_once(self, key: str, line: bytes, load: Load) -> "asyncio.Task[bytes | None]":
        """One load for all requests that found the same entry; it continues if the first request is cancelled."""
        task = self._loads.get((key, line))
        if task is None:
            task = self._loads[key, line] = asyncio.create_task(_awaited(load))
            task.add_done_callback(lambda done: self._load_done(key, line, done))
        return task

    def _load_done(self, key: str, line: bytes, task: "asyncio.Task[bytes | None]") -> None:
        if self._loads.get((key, line)) is task:
            del self._loads[key, line]
        if not task.cancelled():
            task.exception()

    async def _set(self, key: str, before: bytes, entry: _Entry) -> None:
        try:
            await self._redis.eval(_SET, 1, _name(key), before, entry.content, RETENTION_SECONDS)
        except (RedisError, OSError) as error:
            log.debug("cache not filled", key=key, reason=describe(error))


async def _awaited(load: Load) -> bytes | None:
    return await load()


def _name(key: str) -> str:
    return f"{KEY_PREFIX}cache:{key}"
