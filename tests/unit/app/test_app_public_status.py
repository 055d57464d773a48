"""The public status: what is chosen is shown, and nothing else."""

import json
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import AsyncMock, Mock
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from psycopg import OperationalError

from netmon import problems
from netmon.api import status as api
from netmon.cache import SharedCache
from netmon.history_store import HistoryStore
from netmon.public_status import PublicStatus
from netmon.target_models import Incident, TargetView
from netmon.target_reader import TargetReader
from tests.fixtures.page import FakeReader, application
from tests.unit.app.fake_api import Database, added
from tests.unit.app.test_app_cache import FakeRedis

pytestmark = pytest.mark.anyio

CHOSEN = "Mail, submission", "Web shop, checkout"


@pytest.fixture
def reader() -> FakeReader:
    """Targets in all states, two of which are public."""
    reader = FakeReader.full()
    for target in [*reader.known.values()]:
        reader.known[target.id] = target.model_copy(update={"public": target.name in CHOSEN})
    return reader


@pytest.fixture
async def client_of_page(reader: FakeReader) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=application(reader))
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        yield client


def private_words(reader: FakeReader) -> set[str]:
    """What the pages for people with access show of the targets, besides names and figures."""
    words = {target.spec.address for target in reader.known.values()}
    words |= {target.name for target in reader.known.values() if target.name not in CHOSEN}
    words |= {tag for target in reader.known.values() for tag in target.tags}
    words |= {text for each in reader.events for text in (each.detail, each.cause) if text}
    words |= {target.latest.detail for target in reader.known.values() if target.latest and target.latest.detail}
    return words


async def test_the_page_shows_the_chosen_targets_and_nothing_else(
    client_of_page: httpx.AsyncClient, reader: FakeReader
) -> None:
    answer = await client_of_page.get("/status")
    assert answer.status_code == 200
    assert "1 of 2 targets down" in answer.text
    for name in CHOSEN:
        assert name in answer.text
    text = answer.text.partition("<main")[2]
    found = {word for word in private_words(reader) if word in text and word not in " ".join(CHOSEN)}
    assert found == set()
    for link in ('href="/targets', 'href="/maintenance', 'href="/api', 'href="/"', "<dialog"):
        assert link not in answer.text, link
    assert "Content-Security-Policy" in answer.headers
    assert answer.headers["cache-control"] == "no-store"


async def test_without_chosen_targets_the_page_says_so(client_of_page: httpx.AsyncClient, reader: FakeReader) -> None:
    for target in [*reader.known.values()]:
        reader.known[target.id] = target.model_copy(update={"public": False})
    assert "Nothing is published here" in (await client_of_page.get("/status")).text


async def test_an_outage_is_reported(client_of_page: httpx.AsyncClient, reader: FakeReader) -> None:
    reader.error = OperationalError("a secret reason")
    answer = await client_of_page.get("/status")
    assert answer.status_code == 503
    assert "a secret reason" not in answer.text


def test_the_public_part_has_no_private_values(reader: FakeReader) -> None:
    chosen = [target for target in reader.known.values() if target.public]
    ids = {target.id for target in chosen}
    incidents = [each for each in reader.events if each.target in ids]
    assert incidents
    found = PublicStatus.of(chosen, [{}, {}], incidents)
    assert found.targets[0].state == "down"
    text = json.dumps(json.loads(found.model_dump_json()), ensure_ascii=False)
    assert {word for word in private_words(reader) if f'"{word}"' in text} == set()
    target, incident = (json.loads(found.model_dump_json())[name][0] for name in ("targets", "incidents"))
    assert target.keys() == {"id", "name", "state", "since", "uptime_24h_percent", "uptime_30d_percent"}
    assert incident.keys() == {"target", "name", "state", "started_at", "ended_at"}


async def test_no_target_is_public_unless_it_is_chosen(client: httpx.AsyncClient, services: Database) -> None:
    body = await added(client)
    assert body["public"] is False
    path = f"/api/targets/{body['id']}"
    assert (await client.patch(path, json={"public": True})).json()["public"] is True
    assert (await client.patch(path, json={"enabled": False})).json()["public"] is True
    settings = {"name": "A", "spec": body["spec"]}
    assert (await client.put(path, json=settings)).json()["public"] is False, "PUT replaces all settings"
    assert (await client.put("/api/targets", json=[{**settings, "public": True}])).status_code == 200
    assert services.targets[UUID(body["id"])].public


class Public:
    """The chosen targets, and the incidents that are read with them."""

    def __init__(self, *targets: TargetView) -> None:
        self.targets = list(targets)
        self.asked: list[dict[str, Any]] = []

    async def public(self, _limit: int) -> list[TargetView]:
        return self.targets

    async def incidents(self, target: UUID | None, limit: int, **chosen: bool) -> list[Incident]:
        self.asked.append({"target": target, "limit": limit, **chosen})
        return []


async def test_the_answer_is_cached_until_a_target_changes(reader: FakeReader) -> None:
    [mail] = [target for target in reader.known.values() if target.name == CHOSEN[0]]
    cache: Any = SharedCache("redis://redis")
    cache._redis = redis = FakeRedis()
    made: Any = TargetReader(Mock(), Mock(), cache)
    made._lists = made._history = stored = Public(mail)
    made._uptime = Mock(percents=AsyncMock(side_effect=[{mail.id: 99.5}, {mail.id: 98.5}, {}, {}]))
    app = FastAPI()
    problems.install(app)
    app.include_router(api.router(made))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app") as client:
        answers = [await client.get("/api/status") for _ in range(2)]
        assert [answer.headers["x-cache"] for answer in answers] == ["miss", "hit"]
        [target] = answers[1].json()["targets"]
        assert (target["name"], target["uptime_24h_percent"], target["uptime_30d_percent"]) == (mail.name, 99.5, 98.5)
        assert stored.asked == [{"target": None, "limit": 20, "public": True}]
        assert list(redis.values) == ["netmon:cache:4:public"]
        stored.targets.clear()
        await made.changed()
        assert (await client.get("/api/status")).json() == {"targets": [], "incidents": []}, "at once"


def test_states_are_those_of_lists() -> None:
    target = next(iter(FakeReader.full().known.values()))
    for change, state in (
        ({"enabled": False, "in_maintenance": True}, "paused"),
        ({"in_maintenance": True, "stale": True}, "maintenance"),
        ({"stale": True}, "stale"),
    ):
        shown = target.model_copy(update={"enabled": True, "stale": False, "in_maintenance": False, **change})
        found = PublicStatus.of([shown], [{}, {}], [])
        assert found.targets[0].state == shown.shown_state == state
        assert found.counts[shown.shown_state] == 1


async def test_incidents_are_those_of_chosen_targets() -> None:
    """In SQL, which `tests/live/test_targets.py` runs."""
    database = Mock(all=AsyncMock(return_value=[]))
    await HistoryStore(database).incidents(None, 5, public=True)
    await HistoryStore(database).incidents(None, 5)
    public, every = (call.args[0] for call in database.all.call_args_list)
    assert "AND public" in public
    assert "public" not in every
