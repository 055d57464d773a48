"""Periods of uptime, their CSV file and their API."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from netmon import problems
from netmon.api import uptime as api
from netmon.cache import Cached
from netmon.page import views
from netmon.target_lists import TargetFilter
from netmon.target_reader import UnknownTargetError
from netmon.uptime import (
    MONTHS,
    NamedUptime,
    TargetUptime,
    Uptime,
    Window,
    months,
    spans,
    uptime_percent,
    window,
)
from tests.fixtures.page import FakeReader, application
from tests.unit.app.properties import PROPERTY

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
DAY = Window("24h", NOW - timedelta(days=1), NOW)


def test_spans_end_now() -> None:
    assert [(each.period, each.end - each.start, each.end) for each in spans(NOW)] == [
        (f"{hours}h" if hours == 24 else f"{hours // 24}d", timedelta(hours=hours), NOW)
        for hours in (24, 7 * 24, 30 * 24, 90 * 24)
    ]


def test_months_are_calendar_months_in_utc() -> None:
    found = months(NOW, NOW - timedelta(days=1000))
    assert [each.period for each in found] == [
        "2026-03", "2026-02", "2026-01", "2025-12", "2025-11", "2025-10", "2025-09", "2025-08", "2025-07", "2025-06",
        "2025-05", "2025-04", "2025-03",
    ]  # fmt: skip
    assert len(found) == MONTHS
    assert found[0] == Window("2026-03", datetime(2026, 3, 1, tzinfo=UTC), NOW)
    assert found[1] == Window("2026-02", datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))
    assert [each.period for each in months(NOW, NOW - timedelta(days=20))] == ["2026-03", "2026-02"]
    west = datetime(2026, 2, 28, 23, tzinfo=timezone(timedelta(hours=-5)))
    assert [each.period for each in months(west, west - timedelta(hours=1))] == ["2026-03"]


@given(st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 1)))
@PROPERTY
def test_months_follow_each_other_without_a_gap(moment: datetime) -> None:
    now = moment.replace(tzinfo=UTC)
    found = months(now, now - timedelta(days=200)) if moment.year > 1002 else []
    for later, earlier in pairwise(found):
        assert earlier.end == later.start
        assert window(earlier.period, now) == earlier


def test_a_month_that_has_not_begun_is_empty() -> None:
    for period in ("2026-04", "9999-12"):
        assert window(period, NOW) == Window(period, NOW, NOW)
    for period in ("24h", "90d"):
        assert window(period, NOW).end == NOW
    for invalid in ("", "1d", "2026-13", "2026-1", "0999-01", "2026-01\n"):
        with pytest.raises(ValueError, match="a period is"):
            window(invalid, NOW)


def test_a_window_begins_with_the_target() -> None:
    created = NOW - timedelta(hours=1)
    uptime = Uptime.of(DAY.since(created), {"up": 1800})
    assert (uptime.started_at, uptime.unobserved_seconds, uptime.uptime_percent) == (created, 1800, 100)
    assert DAY.since(NOW + timedelta(days=1)).start == NOW
    assert DAY.since(NOW - timedelta(days=2)) == DAY


@pytest.mark.parametrize(
    ("seconds", "percent"),
    [
        ({}, None),
        ({"maintenance": 100.0}, None),
        ({"up": 600.0, "down": 600.0}, 50),
        ({"up": 300.0, "degraded": 300.0, "down": 600.0, "maintenance": 1e9}, 50),
        ({"down": 1.0}, 0),
        ({"degraded": 1.0}, 100),
        ({"up": 90 * 86_400.0, "down": 1.0}, 99.9999),
        ({"up": 90 * 86_400.0, "down": 0.001}, 99.9999),
    ],
)
def test_any_downtime_is_visible_in_the_percentage(seconds: Any, percent: float | None) -> None:
    assert uptime_percent(seconds) == percent


def plain(period: str, **seconds: float) -> Uptime:
    """The uptime within the last 30 days, under the name of this period."""
    return Uptime.of(Window(period, NOW - timedelta(days=30), NOW), seconds)  # type: ignore[arg-type]


def named(name: str, period: str = "30d", **seconds: float) -> NamedUptime:
    """The uptime of a target with this name."""
    return NamedUptime.named(plain(period, **seconds), UUID(int=len(name)), name, ["web", "eu"])


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", '=cmd|"/C calc"!A1', 'a "b", c'])
def test_a_name_in_a_csv_file_is_no_formula(name: str) -> None:
    [header, row] = csv.reader(io.StringIO(api.HEADER + api.encode([named(name, up=90, down=30)])))
    cells = dict(zip(header, row, strict=True))
    assert cells["name"] == (name if name[0] == "a" else f"'{name}")
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row)
    assert (cells["tags"], cells["period"], cells["started_at"]) == ("web eu", "30d", "2026-02-13T12:00:00Z")
    assert (cells["uptime_percent"], cells["up_minutes"], cells["down_minutes"]) == ("75.0", "1.5", "0.5")
    assert cells["observed_minutes"] == "2.0"


class Reader:
    """Uptimes of named targets, in pages."""

    def __init__(self, *names: str) -> None:
        self.names = sorted(names)
        self.asked: list[tuple[TargetFilter, str, str, int]] = []

    async def uptimes(self, chosen: TargetFilter, period: str, after: str, limit: int) -> list[NamedUptime]:
        self.asked.append((chosen, period, after, limit))
        return [named(name, period, up=60) for name in self.names if name > after][:limit]

    async def uptime(self, target: UUID) -> Cached[TargetUptime]:
        if target.int:
            raise UnknownTargetError(target)
        days, month = plain("7d", up=1), plain("2026-03")
        return Cached(TargetUptime(target=target, name="=a", tags=[], spans=[days], months=[month]), "hit")


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
async def client(reader: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    problems.install(app)
    app.include_router(api.router(reader))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app") as client:
        yield client


async def test_uptimes_are_listed_page_by_page(client: httpx.AsyncClient, reader: Reader) -> None:
    reader.names = ["a", "b", "c"]
    first = await client.get("/api/uptime", params={"period": "2026-01", "tag": "eu", "limit": 2})
    assert [each["name"] for each in first.json()] == ["a", "b"]
    assert reader.asked == [(TargetFilter(tag="eu"), "2026-01", "", 3)]
    following = first.links["next"]["url"]
    assert following.startswith("/api/uptime?limit=2&tag=eu&period=2026-01&cursor=")
    second = await client.get(following)
    assert [(each["name"], each["period"]) for each in second.json()] == [("c", "2026-01")]
    assert "next" not in second.links


@pytest.mark.parametrize("csv_chosen", [{"params": {"format": "csv"}}, {"headers": {"Accept": "text/csv;q=0.9, */*"}}])
async def test_a_csv_file_has_all_targets(
    client: httpx.AsyncClient, reader: Reader, csv_chosen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "CSV_PAGE_SIZE", 2)
    reader.names = ["a", "b", "c"]
    answer = await client.get("/api/uptime", **csv_chosen)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert answer.headers["content-disposition"] == 'attachment; filename="uptime-30d.csv"'
    assert [row["name"] for row in csv.DictReader(io.StringIO(answer.text))] == ["a", "b", "c"]
    json = await client.get("/api/uptime?format=json", headers={"Accept": "text/csv"})
    assert len(json.json()) == 3


@pytest.mark.parametrize("query", ["period=1d", "period=2026-00", "period=9999-12", "period=%00", "format=xml"])
async def test_an_invalid_period_is_a_problem(client: httpx.AsyncClient, reader: Reader, query: str) -> None:
    answer = await client.get(f"/api/uptime?{query}")
    assert answer.status_code == 422
    assert [error["at"] for error in answer.json()["errors"]] == [f"query/{query.partition('=')[0]}"]
    assert reader.asked == []
    if query == "period=9999-12":
        assert "has not begun yet: choose an earlier one" in answer.text


async def test_the_uptime_of_a_target_as_json_and_as_csv(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"/api/targets/{UUID(int=0)}/uptime")
    assert answer.headers["x-cache"] == "hit"
    [days] = answer.json()["spans"]
    assert (days["period"], days["uptime_percent"], days["unobserved_seconds"]) == ("7d", 100, 30 * 86_400 - 1)
    file = await client.get(f"/api/targets/{UUID(int=0)}/uptime?format=csv")
    rows = list(csv.DictReader(io.StringIO(file.text)))
    assert [(row["name"], row["period"], row["uptime_percent"]) for row in rows] == [
        ("'=a", "7d", "100.0"), ("'=a", "2026-03", ""),
    ]  # fmt: skip


async def test_the_page_of_a_target_shows_its_uptime_by_period() -> None:
    reader = FakeReader.full()
    mail = next(target for target in reader.known.values() if target.name == "Mail, submission")
    transport = httpx.ASGITransport(app=application(reader))
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        page = (await client.get(f"/targets/{mail.id}")).text
    now = datetime.now(UTC)
    for period in ("Last 24 hours", "Last 7 days", "Last 30 days", "Last 90 days", f"{now:%B %Y}"):
        assert f'<th scope="row">{period}</th>' in page, period
    assert f'href="/api/targets/{mail.id}/uptime?format=csv"' in page
    assert " min</td>" in page


def test_the_page_has_the_observed_months_only() -> None:
    found_months = [plain("2026-03", up=1), plain("2026-02"), plain("2026-01", maintenance=1)]
    found = TargetUptime(target=uuid4(), name="a", tags=[], spans=[plain("24h")], months=found_months)
    assert [each.period for each in views.observed(found)] == ["24h", "2026-03", "2026-01"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 min"), (0.01, "0.1 min"), (6, "0.1 min"), (90, "1.5 min"), (599, "10 min"), (601, "11 min"),
     (90_000, "1,500 min")],
)  # fmt: skip
def test_downtime_is_shown_in_minutes_and_never_hidden(seconds: float, text: str) -> None:
    assert views.minutes(seconds) == text
