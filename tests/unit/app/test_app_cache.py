"""The cache: fresh, stale and invalidated responses, shared loads, outages of Redis and the database."""

import asyncio
from typing import Any

import pytest
from psycopg import OperationalError
from redis import RedisError

from netmon import cache as module
from netmon.cache import SharedCache
from tests.unit.app.waiting import until

pytestmark = pytest.mark.anyio

STALE = -1
"""The freshness of a response that is stale immediately, in seconds."""


class FakeRedis:
    """Emulates strings and the script of the cache."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.unavailable = False

    async def get(self, key: str) -> bytes | None:
        self._need()
        return self.values.get(key)

    async def set(self, key: str, value: bytes, ex: int) -> None:  # noqa: ARG002 - as redis-py calls it
        self._need()
        self.values[key] = value

    async def eval(self, _script: str, number: int, *arguments: Any) -> int:
        self._need()
        keys, values = arguments[:number], arguments[number:]
        if isinstance(values[0], int):  # the script that sets all keys; the first value is the time to live
            self.values.update(zip(keys, values[1:], strict=True))
            return number
        [key], (before, value, _seconds) = keys, values
        line, newline, _ = self.values.get(key, b"").partition(b"\n")
        if line + newline != before:
            return 0
        self.values[key] = value
        return 1

    def _need(self) -> None:
        if self.unavailable:
            raise RedisError("unavailable")


class Database:
    """Loads its version, once it is open; counts the loads."""

    def __init__(self) -> None:
        self.version = b"1"
        self.loads = 0
        self.unavailable = False
        self.open = asyncio.Event()
        self.open.set()

    async def load(self) -> bytes:
        self.loads += 1
        version = self.version
        await self.open.wait()
        if self.unavailable:
            raise OperationalError("unavailable")
        return version


@pytest.fixture
def redis() -> FakeRedis:
    return FakeRedis()


@pytest.fixture
def cache(redis: Any) -> SharedCache:
    return replica(redis)


def replica(redis: Any) -> SharedCache:
    made = SharedCache("redis://redis")
    made._redis = redis
    return made


async def test_a_fresh_response_needs_no_load(cache: SharedCache) -> None:
    database = Database()
    answers = [await cache.get("a", 60, database.load) for _ in range(3)]
    assert answers == [(b"1", "miss"), (b"1", "hit"), (b"1", "hit")]
    assert database.loads == 1


async def test_a_stale_response_is_loaded_once_and_served_to_others_meanwhile(cache: SharedCache) -> None:
    database = Database()
    await cache.get("a", STALE, database.load)
    database.version = b"2"
    database.open.clear()
    first = asyncio.create_task(cache.get("a", 60, database.load))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [await cache.get("a", 60, database.load) for _ in range(5)] == [(b"1", "hit")] * 5
    database.open.set()
    assert await first == (b"2", "miss")
    assert database.loads == 2
    assert await cache.get("a", 60, database.load) == (b"2", "hit")


async def test_concurrent_misses_share_one_load(cache: SharedCache) -> None:
    database = Database()
    answers = await asyncio.gather(*(cache.get("a", 60, database.load) for _ in range(50)))
    assert answers == [(b"1", "miss")] * 50
    assert database.loads == 1


@pytest.mark.parametrize("same", [True, False], ids=["the same replica", "another replica"])
async def test_an_invalidation_takes_precedence_over_an_earlier_load(
    cache: SharedCache, redis: Any, same: bool
) -> None:
    other, database = cache if same else replica(redis), Database()
    database.open.clear()
    early = asyncio.create_task(cache.get("a", 60, database.load))
    await until(lambda: database.loads)
    database.version = b"2"
    await other.invalidate("a")
    late = asyncio.create_task(cache.get("a", 60, database.load))
    await asyncio.sleep(0.01)
    database.open.set()
    assert (await early)[0] == b"1"
    assert await late == (b"2", "miss")
    assert await cache.get("a", 60, database.load) == (b"2", "hit")


async def test_a_stale_response_is_served_while_the_database_is_unavailable(
    cache: SharedCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database()
    await cache.get("a", STALE, database.load)
    database.unavailable = True
    assert await cache.get("a", 60, database.load) == (b"1", "hit")
    monkeypatch.setattr(module, "REFRESH_WAIT_SECONDS", 0.01)
    database.open.clear()
    assert await cache.get("a", 60, database.load) == (b"1", "hit"), "a database that hangs is not waited for"
    database.open.set()
    await cache.invalidate("a")
    with pytest.raises(OperationalError):
        await cache.get("a", 60, database.load)


async def test_without_redis_the_cache_is_bypassed(cache: SharedCache, redis: FakeRedis) -> None:
    database = Database()
    redis.unavailable = True
    answers = await asyncio.gather(*(cache.get("a", 60, database.load) for _ in range(20)))
    assert answers == [(b"1", "bypass")] * 20
    assert database.loads == 1, "the load is shared"
    await cache.invalidate("a")
    assert await cache.get("a", 60, database.load) == (b"1", "bypass")


async def test_an_invalidation_during_an_outage_is_applied_afterwards(cache: SharedCache, redis: FakeRedis) -> None:
    database = Database()
    await cache.get("a", 60, database.load)
    redis.unavailable = True
    database.version = b"2"
    await cache.invalidate("a")
    redis.unavailable = False
    assert await cache.get("a", 60, database.load) == (b"2", "miss")
    assert await cache.get("a", 60, database.load) == (b"2", "hit")


async def test_an_empty_load_is_not_cached(cache: SharedCache, redis: FakeRedis) -> None:
    async def nothing() -> None:
        return None

    assert await cache.get("a", 60, nothing) == (None, "miss")
    assert not redis.values


async def test_any_number_of_keys_is_invalidated(cache: SharedCache, redis: FakeRedis) -> None:
    database, keys = Database(), [str(number) for number in range(2 * module._BATCH_SIZE + 1)]
    for key in (keys[0], keys[-1]):
        await cache.get(key, 60, database.load)
    await cache.invalidate(*keys)
    assert len(redis.values) == len(keys)
    database.version = b"2"
    assert [await cache.get(key, 60, database.load) for key in (keys[0], keys[-1])] == [(b"2", "miss")] * 2
