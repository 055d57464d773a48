"""Fixtures of the unit tests of the application, which need no service, only the loopback interface."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from netmon import settings
from tests.unit.app.fake_api import Database, connected

_EXPORTED = InMemorySpanExporter()

ENVIRON = {
    "DATABASE_URL": "postgresql://postgres:pw@db:5432/network_monitor",
    "REDIS_URL": "redis://:pw@redis:6379/0",
    "KAFKA_BROKERS": "kafka:29092",
    "RABBITMQ_URL": "amqp://admin:pw@rabbitmq:5672/",
    "API_TOKEN": "the-token-of-the-tests",
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def environ() -> dict[str, str]:
    """A complete environment, which tests may change."""
    return dict(ENVIRON)


@pytest.fixture
def app_settings(environ: dict[str, str]) -> settings.Settings:
    return settings.load(environ)


@pytest.fixture
def services() -> Database:
    """The services of the API, in memory."""
    return Database()


@pytest.fixture
async def client(app_settings: settings.Settings, services: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API with these services, which has the write token."""
    async with connected(app_settings, services) as client:
        yield client


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Collects ended spans."""
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(_EXPORTED))
        trace.set_tracer_provider(provider)  # the SDK allows this once per process
    _EXPORTED.clear()
    yield _EXPORTED
    _EXPORTED.clear()
