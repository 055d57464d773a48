"""Smoke checks of the application's dependencies."""

import aio_pika
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from psycopg import AsyncConnection

from netmon.kafka import access, ensure_topic
from netmon.latest_states import KEY_PREFIX, connect
from netmon.settings import Settings
from netmon.smoke.check import Check, expect


async def check_db(settings: Settings, token: str) -> str:
    """Write a row and read it back."""
    async with await AsyncConnection.connect(settings.database_url, autocommit=True, connect_timeout=5) as connection:
        await connection.execute("CREATE TEMPORARY TABLE smoke (token text NOT NULL)")
        await connection.execute("INSERT INTO smoke VALUES (%s)", (token,))
        row = await (await connection.execute("SELECT token FROM smoke")).fetchone()
        expect(row == (token,), f"read back {row}")
        version = connection.info.parameter_status("server_version")
    return f"row written and read back, PostgreSQL {version}"


async def check_redis(settings: Settings, token: str) -> str:
    """Set a key that expires, get it, delete it."""
    client, key = connect(settings.redis_url), f"{KEY_PREFIX}{token}"
    try:
        await client.set(key, token, ex=60)
        value, ttl = await client.get(key), await client.ttl(key)
        expect(value == token.encode(), f"read back {value!r}")
        expect(0 < ttl <= 60, f"the key must expire within 60 s, but its TTL is {ttl} s")
        expect(await client.delete(key) == 1, "the key had expired or was deleted before")
    finally:
        await client.aclose()
    return "key set with expiry, read back, deleted"


async def check_kafka(settings: Settings, token: str) -> str:
    """Produce a record and consume it."""
    brokers = access(settings)
    await ensure_topic(brokers, "smoke", 1, {"retention.ms": "3600000"})
    producer = AIOKafkaProducer(**brokers, acks="all")
    await producer.start()
    try:
        written = await producer.send_and_wait("smoke", token.encode(), partition=0)
    finally:
        await producer.stop()
    consumer = AIOKafkaConsumer(**brokers)
    await consumer.start()
    try:
        partition = TopicPartition("smoke", 0)
        consumer.assign([partition])
        consumer.seek(partition, written.offset)
        record = await consumer.getone()
        expect(record.value == token.encode(), f"offset {written.offset} has another record")
    finally:
        await consumer.stop()
    return f"record produced and consumed, offset {written.offset}"


async def check_rabbitmq(settings: Settings, token: str) -> str:
    """Publish a message with a publisher confirm and consume it."""
    async with await aio_pika.connect(settings.rabbitmq_url, timeout=5) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        queue = await channel.declare_queue(token, exclusive=True, auto_delete=True)
        await channel.default_exchange.publish(aio_pika.Message(token.encode()), routing_key=token, mandatory=True)
        message = await queue.get(timeout=5, fail=True)
        expect(message is not None and message.body == token.encode(), "consumed another message")
        if message is not None:
            await message.ack()
    return "message published with confirm and consumed"


CHECKS: dict[str, Check] = {
    "db": check_db,
    "redis": check_redis,
    "kafka": check_kafka,
    "rabbitmq": check_rabbitmq,
}
