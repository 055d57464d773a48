"""Clients of Kafka: what every one of them is told, the topic, the health check."""

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
"""Each time that a target came into another state, keyed by the target."""
PARTITIONS = 6
"""More than the workers that one machine runs: consumers of one group share the partitions."""
REPLICATION_FACTOR = 1
"""The stack has one broker; a topic that is there already keeps its own."""
TOPICS = {RESULTS: 7, STATES: 30}
"""The application's own, and for how many days they are kept."""

Access = Mapping[str, Any]
"""How a client reaches the brokers: arguments that every class of aiokafka takes. A password is among them."""


def access(settings: Settings) -> Access:
    """How the brokers are reached: with an account where there is one, else without."""
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
    """Create `topic` unless it is there.

    Raises:
        KafkaError: Kafka is away, or refused.
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
    """Create the application's topics unless they are there.

    Raises:
        KafkaError: Kafka is away, or refused.
    """
    for topic, days in TOPICS.items():
        await ensure_topic(access, topic, PARTITIONS, {"retention.ms": str(days * 24 * 3600 * 1000)})


class KafkaCheck:
    """Asks a broker for the cluster's metadata over a connection that is kept."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._admin: AIOKafkaAdminClient | None = None

    async def check(self) -> None:
        """Raise unless a broker answers; the next check starts from a new connection if this one failed."""
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
