"""Answers that are kept in Redis, shared by all replicas: fresh for a time, then good enough until there is a new one.

An answer is loaded once by each replica, however many ask for it at a time: the others get the one before, or wait for
the same load where there is none. One that could not be loaded because the database is away is told as it was.

What is written goes before what is loaded: `forget` leaves a mark that no load that began earlier can replace.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Self
from uuid import uuid4

from redis import RedisError

from netmon.latest_states import KEYS, connect
from netmon.logs import logger
from netmon.supervision import describe

Cache = Literal["hit", "miss", "bypass"]
"""Where an answer came from: the cache; the record, as the cache had none; the record, as the cache is away."""

Load = Callable[[], Awaitable[bytes | None]]
"""Asks the record; None where there is nothing to be kept."""

KEEP = 24 * 3600
"""Seconds that an answer is kept to be told while there is no newer one."""
PATIENCE = 0.5
"""Seconds that one waits for a newer answer where there is one already."""

# Sets a key if it is as it was when the load began. A key begins with a line that no other content of it has.
_SET = """
local known = redis.call('GET', KEYS[1]) or ''
if (string.match(known, '^[^\\n]*\\n') or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class _Entry:
    """What stands under a key: a line with an id and the end of its freshness, and the answer; none in a mark."""

    line: bytes = b""
    answer: bytes = b""

    @classmethod
    def parse(cls, content: bytes | str | None) -> Self:
        line, newline, answer = (content.encode() if isinstance(content, str) else content or b"").partition(b"\n")
        return cls(line + newline, answer)

    @classmethod
    def of(cls, answer: bytes, seconds: float) -> Self:
        return cls(f"{uuid4().hex} {time.time() + seconds:.3f}\n".encode(), answer)

    @property
    def fresh(self) -> bool:
        return bool(self.answer) and float(self.line.split()[1]) > time.time()

    @property
    def content(self) -> bytes:
        return self.line + self.answer


class SharedCache:
    """Answers by key."""

    def __init__(self, url: str) -> None:
        self._redis = connect(url)
        self._loads: dict[tuple[str, bytes], asyncio.Task[bytes | None]] = {}
        self._untold: set[str] = set()
        """Keys that were to be forgotten while Redis was away, which may come back with what it had."""

    async def get(self, key: str, seconds: float, load: Load) -> tuple[bytes | None, Cache]:
        """The answer under a key, loaded where there is none that was loaded within `seconds`.

        Raises:
            psycopg.OperationalError, TimeoutError: there is none, and the database is away.
        """
        try:
            if key in self._untold:
                await self._mark(key)
            content = await self._redis.get(_name(key))
        except (RedisError, OSError) as error:
            log.debug("cache bypassed", key=key, reason=describe(error))
            return await asyncio.shield(self._once(key, b"", load)), "bypass"
        entry = _Entry.parse(content)
        if entry.fresh:
            return entry.answer, "hit"

        async def refill() -> bytes | None:
            answer = await load()
            if answer is not None:
                await self._set(key, entry.line, _Entry.of(answer, seconds))
            return answer

        others_wait = (key, entry.line) in self._loads
        loading = self._once(key, entry.line, refill)
        if not entry.answer:
            return await asyncio.shield(loading), "miss"
        if not others_wait:
            await asyncio.wait({loading}, timeout=PATIENCE)
            if loading.done() and not loading.exception():
                return loading.result(), "miss"
        return entry.answer, "hit"

    async def fresh(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Those answers under these keys that need no load, with one question; none where Redis is away."""
        asked = [key for key in keys if key not in self._untold]
        if not asked:
            return {}
        try:
            contents = await self._redis.mget([_name(key) for key in asked])
        except (RedisError, OSError) as error:
            log.debug("cache bypassed", keys=len(asked), reason=describe(error))
            return {}
        entries = zip(asked, map(_Entry.parse, contents), strict=True)
        return {key: entry.answer for key, entry in entries if entry.fresh}

    async def forget(self, *keys: str) -> None:
        """Let the answers under these keys be loaded again by whoever asks next."""
        for key in keys:
            for known in [known for known in self._loads if known[0] == key]:
                del self._loads[known]
        self._untold.update(keys)
        try:
            for key in keys:
                await self._mark(key)
        except (RedisError, OSError) as error:
            log.warning("cache not told of a change yet", keys=keys, reason=describe(error))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _mark(self, key: str) -> None:
        await self._redis.set(_name(key), _Entry.of(b"", 0).content, ex=KEEP)
        self._untold.discard(key)

    def _once(self, key: str, line: bytes, load: Load) -> "asyncio.Task[bytes | None]":
        """One load for all who have found the same under a key; it goes on even if the first of them goes away."""
        task = self._loads.get((key, line))
        if task is None:
            task = self._loads[key, line] = asyncio.create_task(_awaited(load))
            task.add_done_callback(lambda done: self._ended(key, line, done))
        return task

    def _ended(self, key: str, line: bytes, task: "asyncio.Task[bytes | None]") -> None:
        if self._loads.get((key, line)) is task:
            del self._loads[key, line]
        if not task.cancelled():
            task.exception()

    async def _set(self, key: str, before: bytes, entry: _Entry) -> None:
        try:
            await self._redis.eval(_SET, 1, _name(key), before, entry.content, KEEP)
        except (RedisError, OSError) as error:
            log.debug("cache not filled", key=key, reason=describe(error))


async def _awaited(load: Load) -> bytes | None:
    return await load()


def _name(key: str) -> str:
    return f"{KEYS}cache:{key}"
