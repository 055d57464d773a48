"""Pages of the list of targets: cursors, links, caching. `tests/live/test_targets.py` runs their SQL."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from unittest.mock import AsyncMock, Mock

import httpx
import pytest
from fastapi import FastAPI

from netmon import problems
from netmon.access import TokenAuth
from netmon.api import targets as api
from netmon.api.paging import MAX_PAGE_SIZE
from netmon.cache import SharedCache
from netmon.models import Standing
from netmon.settings import Settings
from netmon.specs import TcpSpec
from netmon.states import IN_MAINTENANCE, IS_STALE, URGENCY, ShownState
from netmon.target_lists import DEFAULT_PAGE_SIZE, OVERVIEW_PAGE_SIZE, TargetFilter, TargetLists
from netmon.target_models import Target, TargetSettings, TargetView
from netmon.target_reader import TargetReader
from tests.unit.app.test_app_cache import FakeRedis

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)


def view(name: str) -> TargetView:
    """A target without results."""
    target = Target.of(TargetSettings(name=name, spec=TcpSpec(host="a", port=1)))
    return TargetView.combine(target, Standing(since=NOW), None, NOW)


class Lists:
    """Targets in memory; counts the reads and remembers the filters."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.reads = 0
        self.chosen: list[TargetFilter] = []

    async def by_name(self, chosen: TargetFilter, after: str, limit: int, **_: bool) -> list[TargetView]:
        self.reads += 1
        self.chosen.append(chosen)
        following = sorted(
            (name for name in self.names if (name.lower(), name) > (after.lower(), after)), key=str.lower
        )
        return [view(name) for name in following[:limit]]

    async def by_urgency(self, _chosen: TargetFilter, _counts: object, offset: int, limit: int) -> list[TargetView]:
        self.reads += 1
        return [view(name) for name in self.names[offset : offset + limit]]

    async def counts(self, _chosen: TargetFilter) -> dict[ShownState, int]:
        return dict.fromkeys(URGENCY, 0) | {"up": len(self.names)}

    async def stored_at(self) -> datetime:
        return NOW


@pytest.fixture
def lists() -> Lists:
    return Lists()


@pytest.fixture
def redis() -> FakeRedis:
    return FakeRedis()


@pytest.fixture
def reader(lists: Any, redis: Any) -> TargetReader:
    cache = SharedCache("redis://redis")
    cache._redis = redis
    made = TargetReader(Mock(), Mock(), cache)
    made._lists = lists
    made._history = Mock(open_incidents=AsyncMock(return_value=0))
    made._uptime = Mock(percents=AsyncMock(return_value={}))
    return made


@pytest.fixture
async def client(reader: TargetReader, app_settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    problems.install(app)
    unused: Any = Mock()
    app.include_router(api.router(reader, unused, unused, TokenAuth(app_settings), unused))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app") as client:
        yield client


async def walked(client: httpx.AsyncClient, path: str) -> list[list[str]]:
    """The names on each page, following the links."""
    pages = []
    while path:
        response = await client.get(path)
        assert response.status_code == 200, response.text
        pages.append([target["name"] for target in response.json()])
        path = response.links.get("next", {}).get("url", "")
    return pages


async def test_links_lead_through_all_targets(client: httpx.AsyncClient, lists: Lists) -> None:
    lists.names = ["a", "B", "c & d?", "é", "e/f"]
    assert await walked(client, "/api/targets?limit=2") == [["a", "B"], ["c & d?", "e/f"], ["é"]]
    assert await walked(client, "/api/targets?limit=5") == [["a", "B", "c & d?", "e/f", "é"]], "no empty last page"
    lists.names = []
    assert await walked(client, "/api/targets") == [[]]


async def test_a_change_between_two_pages_neither_repeats_nor_omits_a_target(
    client: httpx.AsyncClient, lists: Lists
) -> None:
    lists.names = ["b", "d", "f", "h"]
    first = await client.get("/api/targets?limit=2")
    lists.names.remove("d")
    lists.names += ["a", "c", "e"]
    assert await walked(client, first.links["next"]["url"]) == [["e", "f"], ["h"]]


async def test_a_link_keeps_the_filter_and_the_limit(client: httpx.AsyncClient, lists: Lists) -> None:
    lists.names = ["a", "b"]
    response = await client.get("/api/targets", params={"limit": 1, "state": "down", "q": "x & y", "tag": "web"})
    assert re.search(
        r"\?limit=1&state=down&q=x\+%26\+y&tag=web&cursor=\w+>$", response.headers["link"].partition(";")[0]
    )
    await client.get(response.links["next"]["url"])
    assert lists.chosen == [TargetFilter("down", "x & y", "web")] * 2


@pytest.mark.parametrize(
    ("query", "at"),
    [
        ("cursor=%21", "cursor"),
        ("cursor=abcde", "cursor"),
        ("cursor=_w", "cursor"),
        ("cursor=%C3%A4", "cursor"),
        ("cursor=AA", "cursor"),
        ("limit=0", "limit"),
        (f"limit={MAX_PAGE_SIZE + 1}", "limit"),
        ("state=broken", "state"),
        ("q=%00", "q"),
        ("tag=a%20b", "tag"),
        ("tag=", "tag"),
    ],
)
async def test_an_invalid_query_is_a_problem(client: httpx.AsyncClient, lists: Lists, query: str, at: str) -> None:
    response = await client.get(f"/api/targets?{query}")
    assert response.status_code == 422
    assert [error["at"] for error in response.json()["errors"]] == [f"query/{at}"]
    assert lists.reads == 0
    if at == "cursor":
        assert "use the link to the next page" in response.text


async def test_only_the_first_page_is_cached(client: httpx.AsyncClient, lists: Lists, redis: FakeRedis) -> None:
    lists.names = [f"{number:03}" for number in range(2 * DEFAULT_PAGE_SIZE)]
    first = [await client.get("/api/targets") for _ in range(3)]
    assert [response.headers["x-cache"] for response in first] == ["miss", "hit", "hit"]
    assert len({response.text for response in first}) == len({response.headers["link"] for response in first}) == 1
    assert lists.reads == 1
    for path in (first[0].links["next"]["url"], "/api/targets?q=a", "/api/targets?limit=7", "/api/targets?state=up"):
        assert [(await client.get(path)).headers["x-cache"] for _ in range(2)] == ["miss", "miss"], path
    assert list(redis.values) == ["netmon:cache:4:targets:first"]


async def test_only_the_first_page_of_the_overview_is_cached(reader: TargetReader, lists: Lists, redis: Any) -> None:
    lists.names = [f"{number:03}" for number in range(2 * OVERVIEW_PAGE_SIZE)]
    first = [await reader.overview(TargetFilter(), 1) for _ in range(3)]
    assert [status for _, status in first] == ["miss", "hit", "hit"]
    assert first[0].value == first[2].value
    assert lists.reads == 1
    for chosen, page in (
        (TargetFilter(), 2),
        (TargetFilter("up"), 1),
        (TargetFilter(text="a"), 1),
        (TargetFilter(tag="a"), 1),
    ):
        assert (await reader.overview(chosen, page)).status == "miss"
    second = (await reader.overview(TargetFilter(), 2)).value
    assert [target.name for target in second.targets] == lists.names[50:]
    assert (second.matching, second.counts["up"]) == (100, 100)
    assert (await reader.overview(TargetFilter("down"), 1)).value.matching == 0
    assert list(redis.values) == ["netmon:cache:4:overview"]


async def test_a_change_is_visible_in_cached_lists(
    client: httpx.AsyncClient, reader: TargetReader, lists: Lists
) -> None:
    lists.names = ["a"]
    await client.get("/api/targets")
    await reader.overview(TargetFilter(), 1)
    lists.names = ["b"]
    await reader.added()
    assert [target["name"] for target in (await client.get("/api/targets")).json()] == ["b"]
    assert [target.name for target in (await reader.overview(TargetFilter(), 1)).value.targets] == ["b"]


class Rows(TargetLists):
    """Rows of each state, numbered; counts the queries of a page."""

    def __init__(self, counts: dict[ShownState, int]) -> None:
        self.rows = {state: [view(f"{state} {number}") for number in range(count)] for state, count in counts.items()}
        self.queries = 0

    async def _views(self, page: str, parameters: dict[str, Any], **_: bool) -> list[TargetView]:
        self.queries += 1
        special: dict[ShownState, str] = {
            "paused": "true AND NOT enabled",
            "stale": f"true AND {IS_STALE}",
            "maintenance": f"true AND {IN_MAINTENANCE}",
        }
        [state] = [state for state in URGENCY if special.get(state, f"enabled AND state = '{state}'") in page]
        return self.rows[state][parameters["offset"] :][: parameters["limit"]]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
async def test_pages_by_urgency_have_each_target_once_and_read_only_their_states(limit: int) -> None:
    counts: dict[ShownState, int] = {
        "down": 3, "stale": 2, "degraded": 0, "unknown": 1, "maintenance": 1, "up": 8, "paused": 2,
    }  # fmt: skip
    lists = Rows(counts)
    every = [target.name for rows in lists.rows.values() for target in rows]
    for chosen, expected in (
        (TargetFilter(), every),
        (TargetFilter("up"), [name for name in every if name.startswith("up")]),
        (TargetFilter("degraded"), []),
    ):
        pages = [await lists.by_urgency(chosen, counts, offset, limit) for offset in range(0, 20, limit)]
        assert [target.name for page in pages for target in page] == expected
    lists.queries = 0
    await lists.by_urgency(TargetFilter(), counts, 8, 3)
    assert lists.queries == 1, "targets 8 to 10 are all up"
