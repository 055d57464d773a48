"""Answers kept in Redis: fresh, stale, forgotten, loaded once however many ask, and told without Redis or database."""

import asyncio
from typing import Any
from unittest.mock import AsyncMock, Mock
from uuid import uuid4

import pytest
from psycopg import OperationalError
from redis import RedisError

from netmon import cache as module
from netmon.cache import SharedCache
from netmon.models import Statistics
from netmon.target_reader import Reading
from tests.unit.app.waiting import until

pytestmark = pytest.mark.anyio

OLD = -1
"""Seconds for which an answer is fresh that is old at once."""


class FakeRedis:
    """Keeps strings, and runs the one script of the cache by its rule."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.questions = 0
        """For several keys."""
        self.away = False

    async def get(self, key: str) -> bytes | None:
        self._need()
        return self.values.get(key)

    async def mget(self, keys: list[str]) -> list[bytes | None]:
        self._need()
        self.questions += 1
        return [self.values.get(key) for key in keys]

    async def set(self, key: str, value: bytes, ex: int) -> None:  # noqa: ARG002 - as redis-py calls it
        self._need()
        self.values[key] = value

    async def eval(self, _script: str, _keys: int, key: str, before: bytes, value: bytes, _seconds: int) -> int:
        self._need()
        line, newline, _ = self.values.get(key, b"").partition(b"\n")
        if line + newline != before:
            return 0
        self.values[key] = value
        return 1

    def _need(self) -> None:
        if self.away:
            raise RedisError("away")


class Record:
    """Answers with its version, once it may; counts how often it is asked."""

    def __init__(self) -> None:
        self.version = b"1"
        self.asked = 0
        self.away = False
        self.open = asyncio.Event()
        self.open.set()

    async def load(self) -> bytes:
        self.asked += 1
        version = self.version
        await self.open.wait()
        if self.away:
            raise OperationalError("away")
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


async def test_a_fresh_answer_asks_nothing(cache: SharedCache) -> None:
    record = Record()
    answers = [await cache.get("a", 60, record.load) for _ in range(3)]
    assert answers == [(b"1", "miss"), (b"1", "hit"), (b"1", "hit")]
    assert record.asked == 1


async def test_an_old_answer_is_loaded_again_by_one_and_told_to_the_others(cache: SharedCache) -> None:
    record = Record()
    await cache.get("a", OLD, record.load)
    record.version = b"2"
    record.open.clear()
    first = asyncio.create_task(cache.get("a", 60, record.load))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [await cache.get("a", 60, record.load) for _ in range(5)] == [(b"1", "hit")] * 5
    record.open.set()
    assert await first == (b"2", "miss")
    assert record.asked == 2
    assert await cache.get("a", 60, record.load) == (b"2", "hit")


async def test_whoever_finds_none_waits_for_the_load_of_the_first(cache: SharedCache) -> None:
    record = Record()
    answers = await asyncio.gather(*(cache.get("a", 60, record.load) for _ in range(50)))
    assert answers == [(b"1", "miss")] * 50
    assert record.asked == 1


@pytest.mark.parametrize("same", [True, False], ids=["the replica that wrote", "another one"])
async def test_what_is_written_goes_before_a_load_that_began_earlier(
    cache: SharedCache, redis: Any, same: bool
) -> None:
    other, record = cache if same else replica(redis), Record()
    record.open.clear()
    early = asyncio.create_task(cache.get("a", 60, record.load))
    await until(lambda: record.asked)
    record.version = b"2"
    await other.forget("a")
    late = asyncio.create_task(cache.get("a", 60, record.load))
    await asyncio.sleep(0.01)
    record.open.set()
    assert (await early)[0] == b"1"
    assert await late == (b"2", "miss")
    assert await cache.get("a", 60, record.load) == (b"2", "hit")


async def test_an_old_answer_outlives_the_database(cache: SharedCache, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Record()
    await cache.get("a", OLD, record.load)
    record.away = True
    assert await cache.get("a", 60, record.load) == (b"1", "hit")
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    record.open.clear()
    assert await cache.get("a", 60, record.load) == (b"1", "hit"), "nor does one wait for a database that hangs"
    record.open.set()
    await cache.forget("a")
    with pytest.raises(OperationalError):
        await cache.get("a", 60, record.load)


async def test_without_redis_the_record_answers(cache: SharedCache, redis: FakeRedis) -> None:
    record = Record()
    redis.away = True
    answers = await asyncio.gather(*(cache.get("a", 60, record.load) for _ in range(20)))
    assert answers == [(b"1", "bypass")] * 20
    assert record.asked == 1, "asked once by all who wait"
    await cache.forget("a")
    assert await cache.get("a", 60, record.load) == (b"1", "bypass")


async def test_a_change_while_redis_was_away_is_told_when_it_is_back(cache: SharedCache, redis: FakeRedis) -> None:
    record = Record()
    await cache.get("a", 60, record.load)
    redis.away = True
    record.version = b"2"
    await cache.forget("a")
    redis.away = False
    assert await cache.get("a", 60, record.load) == (b"2", "miss")
    assert await cache.get("a", 60, record.load) == (b"2", "hit")


async def test_what_there_is_not_is_not_kept(cache: SharedCache, redis: FakeRedis) -> None:
    async def nothing() -> None:
        return None

    assert await cache.get("a", 60, nothing) == (None, "miss")
    assert not redis.values


async def test_fresh_answers_come_with_one_question(cache: SharedCache, redis: FakeRedis) -> None:
    record = Record()
    for key, seconds in (("a", 60), ("b", 60), ("old", OLD), ("forgotten", 60)):
        await cache.get(key, seconds, record.load)
    await cache.forget("forgotten")
    assert await cache.fresh(["a", "b", "old", "forgotten", "missing"]) == {"a": b"1", "b": b"1"}
    assert redis.questions == 1
    assert await cache.fresh([]) == {}
    assert redis.questions == 1, "nothing is asked for nothing"


async def test_nothing_is_fresh_that_redis_does_not_know_is_forgotten(cache: SharedCache, redis: FakeRedis) -> None:
    record = Record()
    for key in ("a", "b"):
        await cache.get(key, 60, record.load)
    redis.away = True
    await cache.forget("a")
    assert await cache.fresh(["a", "b"]) == {}
    redis.away = False
    assert await cache.fresh(["a", "b"]) == {"b": b"1"}
    record.version = b"2"
    assert await cache.get("a", 60, record.load) == (b"2", "miss")
    assert await cache.fresh(["a", "b"]) == {"a": b"2", "b": b"1"}


async def test_fresh_statistics_are_found_under_the_keys_where_they_were_put(cache: SharedCache) -> None:
    known, other = uuid4(), uuid4()
    statistics = Statistics(window="24h", results=1, failed=0, uptime_percent=100, p50_ms=1, p95_ms=1, p99_ms=1)
    reading = Reading(Mock(), Mock(), cache)
    reading._history = Mock(statistics=AsyncMock(return_value=statistics))
    await reading.statistics(known, "24h")
    assert await reading.fresh_statistics([known, other], "24h") == {known: statistics}
    assert await reading.fresh_statistics([known, other], "1h") == {}
