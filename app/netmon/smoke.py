"""Smoke checks: one client operation for each service, from where a client stands.

The checks run side by side. Each prints one JSON line when it is done: `{"check", "ok", "ms", "detail"}`.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import uuid4

import aio_pika
import aiohttp
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from psycopg import AsyncConnection

from netmon.kafka import ensure_topic
from netmon.latest import connect
from netmon.settings import Settings
from netmon.supervision import deadline, describe

TIMEOUT = 10.0
RETRY = 0.25

Check = Callable[[Settings, str], Awaitable[str]]
"""Does its operation with a token that is unique to this run and returns what it did; raises if anything is amiss."""


class SmokeError(Exception):
    """The service answered, but not as it must."""


def main(settings: Settings, only: Sequence[str] | None) -> int:
    """Run the checks named in `only`, or all; 0 if all passed, 1 if not, 2 for an unknown name."""
    unknown = sorted(set(only or ()) - CHECKS.keys())
    if unknown:
        print(f"netmon: unknown check {', '.join(unknown)}; known are {', '.join(CHECKS)}", file=sys.stderr)
        return 2
    return asyncio.run(_run(settings, [name for name in CHECKS if not only or name in only]))


async def _run(settings: Settings, names: Sequence[str]) -> int:
    passed = await asyncio.gather(*(_report(name, settings) for name in names))
    return 0 if all(passed) else 1


async def _report(name: str, settings: Settings) -> bool:
    started = time.perf_counter()
    try:
        detail, ok = await deadline(CHECKS[name](settings, f"smoke-{uuid4().hex}"), TIMEOUT), True
    except Exception as error:
        detail, ok = describe(error), False
    line = {"check": name, "ok": ok, "ms": round((time.perf_counter() - started) * 1000, 1), "detail": detail}
    print(json.dumps(line, ensure_ascii=False), flush=True)
    return ok


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise SmokeError(otherwise)


async def check_db(settings: Settings, token: str) -> str:
    """Write a row and read it back."""
    async with await AsyncConnection.connect(settings.database_url, autocommit=True, connect_timeout=5) as connection:
        await connection.execute("CREATE TEMPORARY TABLE smoke (token text NOT NULL)")
        await connection.execute("INSERT INTO smoke VALUES (%s)", (token,))
        row = await (await connection.execute("SELECT token FROM smoke")).fetchone()
        _expect(row == (token,), f"read back {row}")
        version = connection.info.parameter_status("server_version")
    return f"row written and read back, PostgreSQL {version}"


async def check_redis(settings: Settings, token: str) -> str:
    """Set a key that expires, get it, delete it."""
    client = connect(settings.redis_url)
    try:
        await client.set(token, token, ex=60)
        value, left = await client.get(token), await client.ttl(token)
        _expect(value == token.encode(), f"read back {value!r}")
        _expect(0 < left <= 60, f"the key was to expire within 60 s, its time to live is {left}")
        _expect(await client.delete(token) == 1, "the key was gone before it was deleted")
    finally:
        await client.aclose()
    return "key set with expiry, read back, deleted"


async def check_kafka(settings: Settings, token: str) -> str:
    """Produce a record and consume that very record."""
    servers = list(settings.kafka_brokers)
    await ensure_topic(settings.kafka_brokers, "smoke", 1, {"retention.ms": "3600000"})
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all")
    await producer.start()
    try:
        written = await producer.send_and_wait("smoke", token.encode(), partition=0)
    finally:
        await producer.stop()
    consumer = AIOKafkaConsumer(bootstrap_servers=servers)
    await consumer.start()
    try:
        partition = TopicPartition("smoke", 0)
        consumer.assign([partition])
        consumer.seek(partition, written.offset)
        record = await consumer.getone()
        _expect(record.value == token.encode(), f"offset {written.offset} holds another record")
    finally:
        await consumer.stop()
    return f"record produced and consumed, offset {written.offset}"


async def check_rabbitmq(settings: Settings, token: str) -> str:
    """Publish a message with a confirm and consume that very message."""
    async with await aio_pika.connect(settings.rabbitmq_url, timeout=5) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        queue = await channel.declare_queue(token, exclusive=True, auto_delete=True)
        await channel.default_exchange.publish(aio_pika.Message(token.encode()), routing_key=token, mandatory=True)
        message = await queue.get(timeout=5, fail=True)
        _expect(message is not None and message.body == token.encode(), "another message came back")
        if message is not None:
            await message.ack()
    return "message published with confirm and consumed"


async def check_prometheus(settings: Settings, _token: str) -> str:
    """Find every scrape target up; a target that was not scraped yet is waited for."""
    async with _http() as http:
        give_up = time.monotonic() + TIMEOUT - 1
        while True:
            answer = await _json(http, f"{settings.prometheus_url}/api/v1/targets?state=active")
            targets = answer["data"]["activeTargets"]
            down = [_told(target) for target in targets if target["health"] != "up"]
            if targets and not down:
                return f"{len(targets)} targets up"
            if time.monotonic() > give_up:
                raise SmokeError(f"not up: {', '.join(down)}" if targets else "it has no targets")
            await asyncio.sleep(RETRY)


def _told(target: dict[str, Any]) -> str:
    reason = target["lastError"] or target["health"]
    return f"{target['labels']['job']} {target['labels'].get('instance', '')} ({reason})"


async def check_alertmanager(settings: Settings, _token: str) -> str:
    """Find Alertmanager ready and its API answering."""
    async with _http() as http, http.get(f"{settings.alertmanager_url}/-/ready") as response:
        _expect(response.status == 200, f"not ready: status {response.status}")
        status = await _json(http, f"{settings.alertmanager_url}/api/v2/status")
    return f"ready, version {status['versionInfo']['version']}"


def _http() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))


async def _json(http: aiohttp.ClientSession, url: str) -> Any:
    async with http.get(url) as response:
        _expect(response.status == 200, f"{url} answered {response.status}")
        return await response.json()


CHECKS: dict[str, Check] = {
    "db": check_db,
    "redis": check_redis,
    "kafka": check_kafka,
    "rabbitmq": check_rabbitmq,
    "prometheus": check_prometheus,
    "alertmanager": check_alertmanager,
}
