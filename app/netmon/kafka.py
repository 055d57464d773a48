"""Kafka: connection settings, topics, health check."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from netmon.settings import Settings
from netmon.supervision import deadline

RESULTS = "probe.results"
"""Each finished probe, keyed by its target."""
STATES = "monitor.state"
"""Each change of the state of a target, keyed by the target."""
PARTITIONS = 6
"""The maximum number of workers that can share a topic; more than one machine runs."""
REPLICATION_FACTOR = 1
"""The stack has one broker; an existing topic keeps its replication factor."""
TOPICS = {RESULTS: 7, STATES: 30}
"""The topics of the application, and their retention in days."""

Access = Mapping[str, Any]
"""Connection settings: keyword arguments for every client of aiokafka, including the password."""


def access(settings: Settings) -> Access:
    """The connection settings, with authentication if an account is configured."""
    brokers = {"bootstrap_servers": list(settings.kafka_brokers)}
    if settings.kafka_username is None:
        return brokers
    return {
        **brokers,
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": settings.kafka_username,
        "sasl_plain_password": settings.kafka_password,
    }


async def ensure_topic(access: Access, topic: str, partitions: int, config: dict[str, str]) -> None:
    """Create `topic` unless it exists.

    Raises:
        KafkaError: Kafka is unavailable, or denied the request.
    """
    admin = AIOKafkaAdminClient(**access, request_timeout_ms=5000)
    await admin.start()
    try:
        answer = await admin.create_topics([NewTopic(topic, partitions, REPLICATION_FACTOR, topic_configs=config)])
    finally:
        await admin.close()
    for _, code, *_ in answer.topic_errors:
        error = for_code(code)
        if error not in (TopicAlreadyExistsError, for_code(0)):
            raise error(f"cannot create the topic {topic}")


async def ensure_own_topics(access: Access) -> None:
    """Create the topics of the application unless they exist.

    Raises:
        KafkaError: Kafka is unavailable, or denied a request.
    """
    for topic, days in TOPICS.items():
        await ensure_topic(access, topic, PARTITIONS, {"retention.ms": str(days * 24 * 3600 * 1000)})


class KafkaCheck:
    """Requests cluster metadata from a broker over a persistent connection."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._admin: AIOKafkaAdminClient | None = None

    async def check(self) -> None:
        """Raise an error unless a broker answers; after a failure, the next check opens a new connection."""
        admin, self._admin = self._admin, None
        try:
            if admin is None:
                admin = AIOKafkaAdminClient(**self._access, request_timeout_ms=700)
                await admin.start()
            await admin.describe_cluster()
        except BaseException:
            if admin is not None:
                await _discard(admin)
            raise
        self._admin = admin

    async def close(self) -> None:
        """Close the connection."""
        if self._admin is not None:
            await _discard(self._admin)


async def _discard(admin: AIOKafkaAdminClient) -> None:
    with suppress(TimeoutError):
        await deadline(admin.close(), 1)
