"""The API with services in memory, some of which tests make unavailable, and a client for it."""

import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI
from psycopg import OperationalError
from redis import RedisError

from netmon import access, web
from netmon.api import Services as Routed
from netmon.api import add_routes
from netmon.api.on_demand import OnDemandProbes, RateLimiter
from netmon.bulk_store import BulkChange, BulkStore, Planner, Stored
from netmon.heartbeat_store import Receipt, Report, TooEarlyError
from netmon.heartbeats import new_token
from netmon.jobs import QueueUnavailableError
from netmon.maintenance import MaintenanceWindow
from netmon.models import Job, Probe, Standing
from netmon.settings import Settings
from netmon.target_models import Target, TargetSettings
from netmon.target_reader import TargetReader
from netmon.target_store import NameTakenError, PlannedTarget, TargetChange, TooManyTargetsError

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
        self.cached: list[bytes | None] = []
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

    async def one(self, query: str, parameters: tuple[UUID]) -> dict[str, Any] | None:
        """A target, or its standing without results."""
        known = self.targets.get(parameters[0])
        if known is None:
            return None
        if "FROM targets" in query:
            return dict(known)
        standing = {"state": "unknown", "since": known.created_at, "recent": [], "version": 1}
        return {**standing, "succeeded_at": None, "stored_at": datetime.now(UTC), "latest": None}

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

    async def get_state(self, target: str) -> Probe | None:
        return await self.get(target)

    async def put_unknown(self, _target: str, _standing: Standing) -> None: ...

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
        content = await load()
        self._services.cached.append(content)
        return content, "miss"

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


def application(settings: Settings, services: Any) -> FastAPI:
    """The API with these services."""
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

    return app


def client_of(app: FastAPI, **options: Any) -> httpx.AsyncClient:
    """A client of an application in this process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app", **options)


@asynccontextmanager
async def connected(settings: Settings, services: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client, with the write token, of the API with these services."""
    token = {"Authorization": f"Bearer {settings.api_token}"}
    async with client_of(application(settings, services), headers=token) as client:
        yield client


def is_problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["title"]
    return body


SPEC = {"kind": "http", "url": "http://a/", "headers": {"Authorization": "secret", "X-A": "b"}}


async def added(client: httpx.AsyncClient, name: str = "A", **settings: object) -> dict[str, Any]:
    answer = await client.post("/api/targets", json={"name": name, "spec": SPEC, **settings})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/api/targets/{body['id']}"
    return body
