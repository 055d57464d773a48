"""The API over HTTP with its services replaced: answers, errors as problems, request ids, metrics."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from psycopg import OperationalError
from redis import RedisError

from netmon import access, web
from netmon.api import add_routes, usable
from netmon.jobs import QueueUnavailableError
from netmon.models import Outcome, Probe
from netmon.settings import Settings, load

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}


class Services:
    """Database, job queue and latest states in memory; each can be taken away."""

    def __init__(self) -> None:
        self.rows: dict[UUID, Probe] = {}
        self.jobs: list[Probe] = []
        self.cache: dict[str, Probe] = {}
        self.away: set[str] = set()

    @asynccontextmanager
    async def queueing(self, probe: Probe) -> AsyncIterator[None]:
        self._need("database", OperationalError)
        yield
        self.rows[probe.id] = probe

    async def publish(self, probe: Probe) -> None:
        self._need("queue", QueueUnavailableError)
        self.jobs.append(probe)

    async def latest(self, target: str) -> Probe | None:
        self._need("database", OperationalError)
        return next((probe for probe in self.rows.values() if probe.target == target and probe.finished_at), None)

    def _need(self, name: str, error: type[Exception]) -> None:
        if name in self.away:
            raise error(f"{name} away")


class Database(Services):
    """Its `get` is by id."""

    async def get(self, probe_id: UUID) -> Probe | None:
        self._need("database", OperationalError)
        return self.rows.get(probe_id)


class Cache:
    """The latest states."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def get(self, target: str) -> Probe | None:
        self._services._need("cache", RedisError)
        return self._services.cache.get(target)

    async def put(self, probe: Probe) -> bool:
        self._services.cache[probe.target] = probe
        return True


@pytest.fixture
def services() -> Database:
    return Database()


@pytest.fixture
async def client(app_settings: Settings, services: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with connected(app_settings, services) as client:
        yield client


@asynccontextmanager
async def connected(settings: Settings, services: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = web.create_app(settings, "test")
    add_routes(app, services, services, Cache(services), access.Writer(settings))  # type: ignore[arg-type]

    @app.get("/api/broken")
    async def broken() -> None:
        raise ZeroDivisionError("a secret detail")

    transport, token = httpx.ASGITransport(app=app), {"Authorization": f"Bearer {settings.api_token}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://app", headers=token) as client:
        yield client


def is_problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["title"]
    return body


async def test_a_probe_is_accepted(client: httpx.AsyncClient, services: Database) -> None:
    response = await client.post("/api/probes", json={"url": "https://Example.org"})
    body = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"/api/probes/{body['id']}"
    assert (body["url"], body["target"], body["status"]) == ("https://example.org/", "https:example.org:443", "queued")
    assert services.jobs == list(services.rows.values())
    assert (await client.get(response.headers["location"])).json() == body


async def test_a_probe_needs_a_token_and_reading_none(client: httpx.AsyncClient, services: Database) -> None:
    accepted = await client.post("/api/probes", json={"url": "http://a/"})
    del client.headers["authorization"]
    assert "token" in is_problem(await client.post("/api/probes", json={"url": "http://a/"}), 401)["detail"]
    assert len(services.jobs) == 1
    assert (await client.get(accepted.headers["location"])).status_code == 200


@pytest.mark.parametrize(("away", "detail"), [("queue", "no probe was queued"), ("database", "database")])
async def test_what_cannot_be_queued_is_not_stored(
    client: httpx.AsyncClient, services: Database, away: str, detail: str
) -> None:
    services.away.add(away)
    response = await client.post("/api/probes", json={"url": "http://a/"})
    assert detail in is_problem(response, 503)["detail"]
    assert response.headers["retry-after"]
    assert (services.rows, services.jobs) == ({}, [])


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[]", b"{}", b'{"url": 1}', b'{"url": "ftp://a/"}', b'{"url": "' + b"x" * 3000 + b'"}'],
)
async def test_an_invalid_request_is_a_problem(client: httpx.AsyncClient, body: bytes) -> None:
    problem = is_problem(await client.post("/api/probes", content=body, headers=JSON), 422)
    assert problem["errors"][0]["at"].startswith("body")


async def test_a_large_body_is_refused(client: httpx.AsyncClient) -> None:
    is_problem(await client.post("/api/probes", content=b" " * 100_000, headers=JSON), 413)


async def test_unknown_things_are_problems(client: httpx.AsyncClient) -> None:
    is_problem(await client.get("/api/probes/00000000-0000-0000-0000-000000000000"), 404)
    is_problem(await client.get("/api/probes/x"), 422)
    is_problem(await client.get("/api/targets/http:a:80/latest"), 404)
    is_problem(await client.get("/nowhere"), 404)
    is_problem(await client.put("/api/probes"), 405)


async def test_a_mistake_of_ours_is_a_problem_without_details(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/broken")
    assert "secret" not in json.dumps(is_problem(response, 500))
    assert response.headers["x-request-id"]


async def test_the_latest_state_says_where_it_comes_from(client: httpx.AsyncClient, services: Database) -> None:
    posted = await client.post("/api/probes", json={"url": "http://a/"})
    probe = Probe(**posted.json()).finished(Outcome(status="failed", finished_at=datetime.now(UTC), duration_ms=1))
    services.rows[probe.id] = probe
    seen = []
    for away in ({"cache"}, set[str](), {"database"}):
        services.away = away
        response = await client.get(f"/api/targets/{probe.target}/latest")
        assert response.json()["id"] == str(probe.id)
        seen.append(response.headers["x-cache"])
    assert seen == ["bypass", "miss", "hit"]


async def test_a_request_keeps_its_id(client: httpx.AsyncClient) -> None:
    given = await client.get("/nowhere", headers={"x-request-id": "abc-1"})
    assert given.headers["x-request-id"] == "abc-1"
    for bad in ("x" * 65, "a b", "a;b"):
        response = await client.get("/nowhere", headers={"x-request-id": bad})
        assert response.headers["x-request-id"] != bad


async def test_metrics_have_routes_not_paths(client: httpx.AsyncClient) -> None:
    await client.get("/api/targets/http:unbounded:80/latest")
    await client.request("BREW", "/unbounded")
    text = (await client.get("/api/metrics")).text
    assert 'http_requests_total{method="GET",route="/api/targets/{key}/latest",status="404"}' in text
    assert 'http_requests_total{method="OTHER",route="unmatched",status="404"}' in text
    assert "unbounded" not in text


async def test_metrics_can_be_off(environ: dict[str, str], services: Any) -> None:
    async with connected(load({**environ, "ENABLE_METRICS": "false"}), services) as client:
        is_problem(await client.get("/api/metrics"), 404)


async def test_what_is_needed_is_asked_until_it_answers() -> None:
    answers = {"database": [False, False, True], "queue": [True]}

    async def check(name: str) -> None:
        if not answers[name].pop(0):
            raise OperationalError("away")

    await usable(lambda: check("database"), lambda: check("queue"))
    assert answers == {"database": [], "queue": []}
