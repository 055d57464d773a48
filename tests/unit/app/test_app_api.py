"""The API over HTTP with fake services: responses, problems, request ids, metrics."""

import dataclasses
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from psycopg import OperationalError
from redis import RedisError
from starlette.exceptions import HTTPException

from netmon import access, web
from netmon.api import Services as Routed
from netmon.api import add_routes, until_healthy
from netmon.api.on_demand import OnDemandProbes, RateLimiter
from netmon.api.targets import TargetPatch
from netmon.bulk_store import BulkChange, BulkStore, Planner, Stored
from netmon.heartbeat_store import Receipt, Report, TooEarlyError
from netmon.heartbeats import new_token
from netmon.jobs import QueueUnavailableError
from netmon.maintenance import MaintenanceWindow
from netmon.models import Job, Outcome, Probe, Target, TargetSettings
from netmon.settings import Settings, load
from netmon.target_reader import TargetReader
from netmon.target_store import NameTakenError, PlannedTarget, TargetChange, TooManyTargetsError

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}


class Services:
    """Database, job queue and latest states in memory; each can be unavailable."""

    def __init__(self) -> None:
        self.rows: dict[UUID, Probe] = {}
        self.jobs: list[Probe] = []
        self.generations: list[int | None] = []
        self.cache: dict[str, Probe] = {}
        self.targets: dict[UUID, Target] = {}
        self.limit = 5
        self.windows: list[MaintenanceWindow] = []
        self.invalidated: list[str] = []
        self.unavailable: set[str] = set()
        self.heartbeats = Heartbeats(self)

    @asynccontextmanager
    async def queueing(self, probe: Probe) -> AsyncIterator[None]:
        self._need("database", OperationalError)
        yield
        self.rows[probe.id] = probe

    async def publish(self, job: Job, *, urgent: bool) -> None:
        assert urgent, "a user waits for it"
        self._need("queue", QueueUnavailableError)
        self.jobs.append(job.probe)
        self.generations.append(job.generation)

    async def latest(self, target: str) -> Probe | None:
        self._need("database", OperationalError)
        return next((probe for probe in self.rows.values() if probe.target == target and probe.finished_at), None)

    def _need(self, name: str, error: type[Exception]) -> None:
        if name in self.unavailable:
            raise error(f"{name} unavailable")


class Database(Services):
    """Probes by id."""

    async def get(self, probe_id: UUID) -> Probe | None:
        self._need("database", OperationalError)
        return self.rows.get(probe_id)


class Heartbeats:
    """The store of heartbeats: URLs by their tokens, and what was received."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.tokens: dict[str, UUID] = {}
        self.received: list[Report] = []
        self.too_early: timedelta | None = None

    async def renew(self, target: UUID) -> str | None:
        if not await self.revoke(target):
            return None
        token = new_token()
        self.tokens[token] = target
        return token

    async def revoke(self, target: UUID) -> bool:
        self._services._need("database", OperationalError)
        self.tokens = {token: owner for token, owner in self.tokens.items() if owner != target}
        known = self._services.targets.get(target)
        return known is not None and known.spec.kind == "heartbeat"

    async def receive(self, token: str, report: Report) -> Receipt | None:
        self._services._need("database", OperationalError)
        if token not in self.tokens:
            return None
        if self.too_early:
            raise TooEarlyError(self.too_early)
        if not self._services.targets[self.tokens[token]].enabled:
            return "ignored"
        self.received.append(report)
        return "stored"


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

    async def delete(self, target: str) -> None:
        self._services.cache.pop(target, None)


class Answers:
    """The cache of responses, always empty."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def get(self, _key: str, _seconds: float, load: Any) -> tuple[bytes | None, str]:
        return await load(), "miss"

    async def invalidate(self, *keys: str) -> None:
        self._services.invalidated += keys


class Targets:
    """The store of targets."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._targets = services.targets

    async def add(self, settings: TargetSettings) -> Target:
        self._services._need("database", OperationalError)
        if settings.name in {target.name for target in self._targets.values()}:
            raise NameTakenError
        if len(self._targets) == self._services.limit:
            raise TooManyTargetsError
        target = Target.of(settings)
        self._targets[target.id] = target
        return target

    async def planned(self, target: UUID) -> PlannedTarget | None:
        known = self._targets.get(target)
        return PlannedTarget(known.plan, 7) if known else None

    async def change(self, target: UUID, to: Callable[[Target], TargetSettings]) -> TargetChange | None:
        before = self._targets.get(target)
        if before is None:
            return None
        given = {name: getattr(before, name) for name in ("id", "created_at", "updated_at")}
        self._targets[target] = Target(**dict(to(before)), **given)
        return TargetChange(self._targets[target], None)

    async def delete(self, target: UUID) -> bool:
        return self._targets.pop(target, None) is not None


class BulkTargets(BulkStore):
    """The bulk changes of targets, without transactions."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def preview(self, planner: Planner) -> BulkChange:
        self._services._need("database", OperationalError)
        return planner(Stored(list(self._services.targets.values()), self._services.windows, datetime.now(UTC)))

    async def apply(self, planner: Planner, *, windows: bool = False) -> BulkChange:
        planned = await self.preview(planner)
        assert windows or not planned.windows.any
        gone = {window.id for window in (*planned.windows.delete, *(before for before, _ in planned.windows.update))}
        changed = [MaintenanceWindow(**dict(settings), id=before.id) for before, settings in planned.windows.update]
        kept = [window for window in self._services.windows if window.id not in gone]
        self._services.windows = [*kept, *changed, *planned.windows.create]
        for target in planned.delete:
            del self._services.targets[target.id]
        changes = []
        for before, settings in planned.update:
            given = {name: getattr(before, name) for name in ("id", "created_at", "updated_at")}
            self._services.targets[before.id] = Target(**dict(settings), **given)
            changes.append(TargetChange(self._services.targets[before.id], None))
        self._services.targets |= {target.id: target for target in planned.create}
        return dataclasses.replace(planned, changed=changes)


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
    reader: Any = TargetReader(services, Cache(services), Answers(services))  # type: ignore[arg-type]
    on_demand = OnDemandProbes(services, services, RateLimiter(settings.on_demand_probes_per_second))
    targets: Any = Targets(services)
    unused: Any = None
    auth = access.TokenAuth(settings)
    timeout, bulk = settings.probe_timeout_seconds, BulkTargets(services)
    heartbeats: Any = services.heartbeats
    add_routes(
        app, Routed(services, targets, unused, reader, on_demand, auth, settings.guard, timeout, bulk, heartbeats)
    )

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


async def test_a_probe_requires_a_token_but_reading_does_not(client: httpx.AsyncClient, services: Database) -> None:
    accepted = await client.post("/api/probes", json={"url": "http://a/"})
    del client.headers["authorization"]
    assert "token" in is_problem(await client.post("/api/probes", json={"url": "http://a/"}), 401)["detail"]
    assert len(services.jobs) == 1
    assert (await client.get(accepted.headers["location"])).status_code == 200


@pytest.mark.parametrize(("unavailable", "detail"), [("queue", "no probe was queued"), ("database", "database")])
async def test_a_probe_that_cannot_be_queued_is_not_stored(
    client: httpx.AsyncClient, services: Database, unavailable: str, detail: str
) -> None:
    services.unavailable.add(unavailable)
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


@pytest.mark.parametrize("host", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "[::1]", "[::ffff:192.168.1.1]"])
async def test_a_private_address_is_rejected_before_a_probe_is_queued(client: httpx.AsyncClient, host: str) -> None:
    for path, body in (
        ("/api/probes", {"url": f"http://{host}/"}),
        ("/api/targets", {"name": "inside", "spec": {"kind": "http", "url": f"http://{host}/"}}),
    ):
        response = await client.post(path, json=body)
        assert response.status_code == 422
        assert "is not a public address" in response.text


async def test_a_large_body_is_rejected(client: httpx.AsyncClient) -> None:
    is_problem(await client.post("/api/probes", content=b" " * 100_000, headers=JSON), 413)


async def test_unknown_resources_are_problems(client: httpx.AsyncClient) -> None:
    is_problem(await client.get("/api/probes/00000000-0000-0000-0000-000000000000"), 404)
    is_problem(await client.get("/api/probes/x"), 422)
    is_problem(await client.get("/api/targets/http:a:80/latest"), 404)
    is_problem(await client.get("/nowhere"), 404)
    is_problem(await client.put("/api/probes"), 405)


async def test_an_internal_error_is_a_problem_without_details(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/broken")
    assert "secret" not in json.dumps(is_problem(response, 500))
    assert response.headers["x-request-id"]


async def test_the_latest_state_reports_its_source(client: httpx.AsyncClient, services: Database) -> None:
    posted = await client.post("/api/probes", json={"url": "http://a/"})
    probe = Probe(**posted.json()).finished(Outcome(status="failed", finished_at=datetime.now(UTC), duration_ms=1))
    services.rows[probe.id] = probe
    seen = []
    for unavailable in ({"cache"}, set[str](), {"database"}):
        services.unavailable = unavailable
        response = await client.get(f"/api/targets/{probe.target}/latest")
        assert response.json()["id"] == str(probe.id)
        seen.append(response.headers["x-cache"])
    assert seen == ["bypass", "miss", "hit"]


async def test_a_valid_request_id_is_kept(client: httpx.AsyncClient) -> None:
    given = await client.get("/nowhere", headers={"x-request-id": "abc-1"})
    assert given.headers["x-request-id"] == "abc-1"
    for bad in ("x" * 65, "a b", "a;b"):
        response = await client.get("/nowhere", headers={"x-request-id": bad})
        assert response.headers["x-request-id"] != bad


async def test_metrics_are_labelled_with_routes_not_paths(client: httpx.AsyncClient) -> None:
    await client.get("/api/targets/http:unbounded:80/latest")
    await client.request("BREW", "/unbounded")
    text = (await client.get("/api/metrics")).text
    assert 'http_requests_total{method="GET",route="/api/targets/{key}/latest",status="404"}' in text
    assert 'http_requests_total{method="OTHER",route="unmatched",status="404"}' in text
    assert "unbounded" not in text


async def test_metrics_can_be_disabled(environ: dict[str, str], services: Any) -> None:
    async with connected(load({**environ, "ENABLE_METRICS": "false"}), services) as client:
        is_problem(await client.get("/api/metrics"), 404)


async def test_dependencies_are_checked_until_they_are_healthy() -> None:
    answers = {"database": [False, False, True], "queue": [True]}

    async def check(name: str) -> None:
        if not answers[name].pop(0):
            raise OperationalError("unavailable")

    await until_healthy(lambda: check("database"), lambda: check("queue"))
    assert answers == {"database": [], "queue": []}


SPEC = {"kind": "http", "url": "http://a/", "headers": {"Authorization": "secret", "X-A": "b"}}


async def added(client: httpx.AsyncClient, name: str = "A", **settings: object) -> dict[str, Any]:
    answer = await client.post("/api/targets", json={"name": name, "spec": SPEC, **settings})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/api/targets/{body['id']}"
    return body


async def test_settings_that_exclude_each_other_are_reported_at_the_second(client: httpx.AsyncClient) -> None:
    spec = {"kind": "tcp", "host": "a", "port": 1, "tls": True, "starttls": "smtp"}
    [error] = is_problem(await client.post("/api/targets", json={"name": "B", "spec": spec}), 422)["errors"]
    assert error["at"] == "body/spec/tcp/starttls"
    assert "tls and starttls exclude each other" in error["message"]


async def test_a_patch_is_validated_together_with_the_other_settings(
    client: httpx.AsyncClient, services: Database
) -> None:
    target = (await added(client, slow_ms=5, failures=3, window=3))["id"]
    answer = await client.patch(f"/api/targets/{target}", json={"enabled": False, "slow_ms": None})
    assert (answer.json()["enabled"], answer.json()["slow_ms"], answer.json()["failures"]) == (False, None, 3)
    before = services.targets[UUID(target)]
    tags = ({"tags": [tag]} for tag in ("", "a b", "a,b", "a\x00", "-a", "a" * 51))
    more = ({"tags": ["a", "a"]}, {"tags": ["a"] * 21}, {"severity": "page"}, {"degraded_severity": None})
    for invalid in (
        *tags,
        *more,
        {"window": 2},
        {"name": None},
        {"interval_seconds": 1},
        {"id": str(uuid4())},
        {"spec": {"kind": "x"}},
    ):
        problem = is_problem(await client.patch(f"/api/targets/{target}", json=invalid), 422)
        assert problem["errors"][0]["at"].startswith("body")
    assert services.targets[UUID(target)] == before


def test_every_setting_can_be_patched() -> None:
    assert set(TargetPatch.model_fields) - {"id"} == set(TargetSettings.model_fields)


async def test_a_duplicate_name_and_a_target_above_the_limit_are_conflicts(
    client: httpx.AsyncClient, services: Database
) -> None:
    await added(client)
    again = await client.post("/api/targets", json={"name": " A ", "spec": SPEC})
    assert "Choose another" in is_problem(again, 409)["detail"]
    services.limit = 1
    assert (
        "Delete a target"
        in is_problem(await client.post("/api/targets", json={"name": "B", "spec": SPEC}), 409)["detail"]
    )


async def test_a_target_is_deleted(client: httpx.AsyncClient, services: Database) -> None:
    target = (await added(client))["id"]
    assert (await client.delete(f"/api/targets/{target}")).status_code == 204
    expected = {
        "3:overview",
        f"3:target:{target}",
        f"statistics:{target}:1h",
        f"3:series:{target}:30d",
        f"uptime:{target}",
    }
    assert expected <= set(services.invalidated)


async def test_an_unknown_target_is_a_problem(client: httpx.AsyncClient) -> None:
    path = f"/api/targets/{uuid4()}"
    is_problem(await client.put(path, json={"name": "A", "spec": SPEC}), 404)
    is_problem(await client.patch(path, json={}), 404)
    is_problem(await client.delete(path), 404)
    is_problem(await client.post(f"{path}/probes"), 404)


async def test_write_requests_require_a_token(client: httpx.AsyncClient, services: Database) -> None:
    target = (await added(client))["id"]
    del client.headers["authorization"]
    path = f"/api/targets/{target}"
    for method, url in (
        ("POST", "/api/targets"),
        ("PUT", path),
        ("PATCH", path),
        ("DELETE", path),
        ("POST", f"{path}/probes"),
    ):
        is_problem(await client.request(method, url, json={}), 401)
    assert (list(services.targets), services.jobs) == ([UUID(target)], [])


async def test_a_target_is_probed_on_demand(client: httpx.AsyncClient, services: Database) -> None:
    target = (await added(client))["id"]
    answer = await client.post(f"/api/targets/{target}/probes")
    assert answer.status_code == 202
    assert ([job.target for job in services.jobs], services.generations) == ([target], [7])
    assert (await client.get(answer.headers["location"])).json()["status"] == "queued"
    assert "secret" not in answer.text


async def test_probes_on_demand_are_rate_limited(environ: dict[str, str], services: Any) -> None:
    async with connected(load({**environ, "ON_DEMAND_PROBES_PER_SECOND": "0.2"}), services) as client:
        answers = [await client.post("/api/probes", json={"url": "http://a/"}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [202, 202, 429]
        is_problem(answers[2], 429)
        assert 1 <= int(answers[2].headers["retry-after"]) <= 5
        assert len(services.jobs) == 2


def test_the_unused_rate_is_available_as_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    rate_limiter = RateLimiter(0.5)
    retry_after = []
    for now in (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.9, 2.0, 2.0, 100.0):  # noqa: B007 - read by the clock above
        try:
            rate_limiter.acquire()
        except HTTPException as error:
            retry_after.append((error.headers or {})["Retry-After"])
        else:
            retry_after.append("")
    assert retry_after == ["", "", "", "", "", "2", "1", "", "2", ""]
