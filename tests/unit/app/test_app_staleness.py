"""Targets whose results are overdue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import AsyncMock, Mock

import httpx
import pytest

from netmon.database import CATCH_UP_SECONDS, Backlog, Database
from netmon.models import Outcome, Probe, Standing
from netmon.page import views
from netmon.specs import TcpSpec
from netmon.states import STALE_SECONDS, URGENCY
from netmon.target_models import Target, TargetSettings
from netmon.target_reader import TargetReader
from netmon.target_store import Snapshot
from tests.fixtures.page import FakeReader, application, view

pytestmark = pytest.mark.anyio


def target(**settings: Any) -> Target:
    """A target with an interval of 60 s, a timeout of 10 s and one retry: results come at least every 80 s."""
    values = {
        "name": "a",
        "spec": TcpSpec(host="a", port=1),
        "interval_seconds": 60,
        "timeout_seconds": 10,
        "retries": 1,
    }
    return Target.of(TargetSettings(**{**values, **settings}))


@pytest.mark.parametrize(
    ("settings", "seconds", "stale"),
    [
        ({}, 79 + STALE_SECONDS, False),
        ({}, 81 + STALE_SECONDS, True),
        ({"retries": 2}, 81 + STALE_SECONDS, False),
        ({"interval_seconds": 3600}, 81 + STALE_SECONDS, False),
        ({"enabled": False}, 10_000, False),
        # A result from the future, by a clock that was put back since.
        ({}, -3600, False),
    ],
)
def test_a_target_is_stale_once_its_result_is_overdue(settings: dict[str, Any], seconds: float, stale: bool) -> None:
    assert target(**settings).is_stale(datetime.now(UTC) - timedelta(seconds=seconds)) is stale


@pytest.mark.parametrize("age", [1, 1000])
async def test_a_stale_state_in_the_cache_is_read_from_the_database(age: float) -> None:
    now = datetime.now(UTC)
    known = target()
    cached = probe(known, now - timedelta(seconds=age), "down")
    stored = probe(known, now, "up")
    latest = Mock(get_state=AsyncMock(return_value=cached), put=AsyncMock())
    reader = TargetReader(Mock(), latest, Mock(get=AsyncMock(return_value=(known.model_dump_json().encode(), "hit"))))
    assert stored.standing
    reader._store = Mock(snapshot=AsyncMock(return_value=Snapshot(stored.standing, stored, now)))
    found, status = await reader.target(known.id)
    assert found
    assert (found.standing.state, found.stale, status) == (
        ("down", False, "hit") if age == 1 else ("up", False, "miss")
    )


async def test_a_target_without_current_results_anywhere_is_stale() -> None:
    now = datetime.now(UTC)
    known = target()
    old = probe(known, now - timedelta(hours=1), "up")
    assert old.standing
    latest = Mock(get_state=AsyncMock(return_value=old), put=AsyncMock())
    reader = TargetReader(Mock(), latest, Mock(get=AsyncMock(return_value=(known.model_dump_json().encode(), "hit"))))
    snapshot = Snapshot(old.standing, old, now - timedelta(hours=1))
    reader._store = Mock(snapshot=AsyncMock(return_value=snapshot))
    found, _ = await reader.target(known.id)
    assert found
    assert found.stale
    assert views.shown_state(found) == "stale"


def probe(of: Target, finished_at: datetime, state: Any) -> Probe:
    """A finished probe of a target, with its standing."""
    outcome = Outcome(status="succeeded", finished_at=finished_at, duration_ms=1)
    queued = Probe(id=of.id, url="tcp://a:1", target=str(of.id), requested_at=finished_at)
    return queued.finished(outcome).model_copy(update={"standing": Standing(state=state, since=finished_at)})


@pytest.mark.parametrize(
    ("backlog", "problem"),
    [
        (Backlog(0, 0, 0, 0), ""),
        (Backlog(14, 14, 100, 100), ""),
        (Backlog(0, 16, 0, 0), "due for 16 s"),
        (Backlog(16, 0, 0, 0), "no result for 16 s"),
    ],
)
async def test_probing_is_checked_by_its_backlog(backlog: Backlog, problem: str) -> None:
    database = Database("postgresql://db", "test")
    database.backlog = AsyncMock(return_value=backlog)  # type: ignore[method-assign]
    await database.check_probing()
    database._created_at -= CATCH_UP_SECONDS
    if not problem:
        await database.check_probing()
        return
    with pytest.raises(RuntimeError, match=problem):
        await database.check_probing()


def test_stale_targets_are_in_the_headline_before_degraded_ones() -> None:
    counts = dict.fromkeys(URGENCY, 0) | {"up": 3, "degraded": 1, "stale": 2}
    assert views.Summary(counts).headline == "2 of 6 targets stale"
    assert views.Summary(counts).worst == "stale"
    assert views.icon("stale") == "icon-degraded.svg"
    assert views.Summary(counts | {"down": 1}).headline == "1 of 7 targets down"


async def test_the_pages_show_stale_targets_and_the_age_of_the_newest_result() -> None:

    shop = view("Web shop", TcpSpec(host="a", port=1)).model_copy(update={"stale": True})
    reader = FakeReader(shop, view("API", TcpSpec(host="b", port=1)))
    transport = httpx.ASGITransport(app=application(reader))
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        index = (await client.get("/")).text
        page = (await client.get(f"/targets/{shop.id}")).text
    assert "<title>(1 stale) Network Monitor</title>" in index
    assert 'href="#stale"' in index
    assert "Newest result 2" in index
    assert "up at the last result, one is due every 60 s" in page
