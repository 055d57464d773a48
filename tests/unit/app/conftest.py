"""The application's own unit tests: no service is needed, only the loopback interface."""

import pytest

from netmon import settings

ENVIRON = {
    "DATABASE_URL": "postgresql://postgres:pw@db:5432/network_monitor",
    "REDIS_URL": "redis://:pw@redis:6379/0",
    "KAFKA_BROKERS": "kafka:29092",
    "RABBITMQ_URL": "amqp://admin:pw@rabbitmq:5672/",
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def environ() -> dict[str, str]:
    """A complete environment, to be changed at will."""
    return dict(ENVIRON)


@pytest.fixture
def app_settings(environ: dict[str, str]) -> settings.Settings:
    return settings.load(environ)
