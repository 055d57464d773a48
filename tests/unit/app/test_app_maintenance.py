"""Maintenance windows: schedules over changes of the clocks, refused settings, and the API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any
from unittest.mock import AsyncMock, Mock
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from netmon import access, problems
from netmon.api import maintenance as api
from netmon.maintenance import (
    DAYS,
    HORIZON,
    KEPT,
    LEAD,
    MAX_AHEAD,
    MAX_LENGTH,
    MAX_MINUTES,
    MaintenanceWindow,
    Period,
    Weekly,
    WindowSettings,
    WindowView,
    merged,
    next_change,
)
from netmon.maintenance_store import (
    MAX_WINDOWS,
    TooManyWindowsError,
    WindowChange,
    WindowNameTakenError,
    WindowTargetError,
    _readable,
)
from netmon.models import Standing
from netmon.settings import Settings
from netmon.specs import TcpSpec
from netmon.target_models import Target, TargetSettings, TargetView
from tests.unit.app.properties import PROPERTY

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
CHANGES = {
    "Europe/Berlin": ("2027-03-28T01:00", "2027-10-31T01:00"),
    "America/New_York": ("2027-03-14T07:00", "2027-11-07T06:00"),
    "Australia/Lord_Howe": ("2027-10-02T15:30", "2027-04-03T15:00"),
    "Antarctica/Troll": ("2027-03-28T01:00", "2027-10-31T01:00"),
}
"""Changes of the clocks (UTC): forward, and back. They are by half an hour on Lord Howe, and by two hours at Troll."""


@cache
def local_times(zone: str, change: str) -> Mapping[datetime, datetime]:
    """The local time of each minute within 12 days of a change, in order. UTC to local time is never ambiguous."""
    at = datetime.fromisoformat(change).replace(tzinfo=UTC)
    minutes = (at + number * MINUTE for number in range(-12 * 1440, 12 * 1440))
    return {minute: minute.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for minute in minutes}


@cache
def first_shown(zone: str, change: str) -> Mapping[datetime, datetime]:
    """When each local time is shown first; if it is skipped, as if the clocks had not been changed."""
    found: dict[datetime, datetime] = {}
    for (minute, before), (following, after) in pairwise(local_times(zone, change).items()):
        found.setdefault(before, minute)
        for skipped in range(1, (after - before) // MINUTE):
            found.setdefault(before + skipped * MINUTE, following + (skipped - 1) * MINUTE)
    return found


def starts(zone: str, change: str, start: str) -> Mapping[datetime, datetime]:
    """When a time of day is shown first, by local midnight."""
    clock, time = first_shown(zone, change), datetime.strptime(start, "%H:%M").time()
    midnights = {moment.replace(hour=0, minute=0) for moment in (min(clock) + each * DAY for each in range(25))}
    return {each: clock[at] for each in midnights if (at := datetime.combine(each, time)) in clock}


def minutes_of(periods: Sequence[Period]) -> set[datetime]:
    """Every minute in some periods."""
    found: set[datetime] = set()
    for period in periods:
        minute = period.starts_at
        while minute < period.ends_at:
            found.add(minute)
            minute += MINUTE
    return found


def expected(window: Weekly, change: str, since: datetime, until: datetime) -> set[datetime]:
    """Every minute of a weekly window whose period ends after `since` and starts before `until`, slowly."""
    found = set()
    for midnight, starts_at in starts(window.timezone, change, window.start).items():
        ends_at = starts_at + window.minutes * MINUTE
        if DAYS[midnight.weekday()] in window.days and ends_at > since and starts_at < until:
            found |= {starts_at + number * MINUTE for number in range(window.minutes)}
    return found


@st.composite
def weekly(draw: st.DrawFn, zone: str, change: str) -> Weekly:
    """A weekly window, most of which start when the clocks are changed."""
    before = datetime.fromisoformat(change).replace(tzinfo=UTC) - MINUTE
    wall = local_times(zone, change)[before] + draw(st.one_of(st.integers(-150, 150), st.integers(0, 1439))) * MINUTE
    others = draw(st.lists(st.sampled_from(DAYS), max_size=5))
    days = list(dict.fromkeys((DAYS[wall.weekday()], *others)))
    minutes = draw(st.one_of(st.integers(1, 200), st.integers(1, 1439)))
    return Weekly(days=days, start=f"{wall:%H:%M}", minutes=minutes, timezone=zone)


@PROPERTY
@given(st.data(), st.sampled_from([(zone, change) for zone, both in CHANGES.items() for change in both]))
def test_a_weekly_window_is_in_effect_at_its_local_times_over_changes_of_the_clocks(
    data: st.DataObject, changing: tuple[str, str]
) -> None:
    zone, change = changing
    window = data.draw(weekly(zone, change))
    since = datetime.fromisoformat(change).replace(tzinfo=UTC) + data.draw(st.integers(-4 * 1440, 1440)) * MINUTE
    until = since + data.draw(st.integers(0, 8 * 1440)) * MINUTE
    periods = window.periods(since, until)
    assert minutes_of(periods) == expected(window, change, since, until)
    assert all(period.ends_at - period.starts_at == window.minutes * MINUTE for period in periods)


@pytest.mark.parametrize(
    ("zone", "start", "date", "starts_at"),
    [
        ("Europe/Berlin", "02:30", "2027-03-28", "01:30"),  # skipped: 03:30 CEST
        ("Europe/Berlin", "02:30", "2027-10-31", "00:30"),  # twice: 02:30 CEST
        ("Europe/Berlin", "03:00", "2027-10-31", "02:00"),
        ("Australia/Lord_Howe", "02:15", "2027-10-03", "15:45"),  # skipped: 02:45
        ("Australia/Lord_Howe", "01:45", "2027-04-04", "14:45"),  # twice
    ],
)
def test_a_start_that_is_skipped_is_later_and_one_that_occurs_twice_is_the_first(
    zone: str, start: str, date: str, starts_at: str
) -> None:
    day = datetime.fromisoformat(date).replace(tzinfo=UTC)
    window = Weekly(days=["sun"], start=start, minutes=60, timezone=zone)
    [period] = window.periods(day - timedelta(days=1), day + timedelta(days=1))
    assert f"{period.starts_at:%H:%M}" == starts_at
    assert period.ends_at - period.starts_at == timedelta(hours=1), "of elapsed time"


TIMES = st.integers(0, 300).map(lambda number: datetime(2027, 1, 1, tzinfo=UTC) + number * MINUTE)
PERIODS = st.lists(st.tuples(TIMES, st.integers(1, 90)).map(lambda each: Period(each[0], each[0] + each[1] * MINUTE)))


@PROPERTY
@given(PERIODS)
@example([Period(datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 1, 2, tzinfo=UTC))] * 2)
def test_overlapping_and_adjacent_periods_are_merged(periods: list[Period]) -> None:
    found = merged(periods)
    assert minutes_of(found) == minutes_of(periods)
    assert all(earlier.ends_at < later.starts_at for earlier, later in pairwise(found))


@PROPERTY
@given(PERIODS, TIMES)
def test_periods_are_chosen_again_when_one_is_about_to_start_has_ended_or_is_forgotten(
    periods: list[Period], now: datetime
) -> None:
    change = next_change(periods, now)
    times = {time for each in periods for time in (each.starts_at - LEAD, each.ends_at, each.ends_at + KEPT)}
    assert change == min((time for time in times if time > now), default=None)


def settings(**values: Any) -> dict[str, Any]:
    """Valid settings of a window, with changes."""
    return {"name": "Updates", "tag": "web", "weekly": WEEKLY} | values


WEEKLY = {"days": ["sat", "sun"], "start": "23:00", "minutes": 120, "timezone": "Europe/Berlin"}
ONCE = {"starts_at": "2027-01-01T22:00:00+01:00", "ends_at": "2027-01-01T23:30:00+01:00"}
ALL_WEEK = {"start": "00:00", "timezone": "UTC"}


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"target": str(uuid4())}, "either target or tag"),
        ({"tag": None}, "either target or tag"),
        ({"weekly": None}, "either once or weekly"),
        ({"once": ONCE}, "either once or weekly"),
        ({"name": " "}, "name"),
        ({"name": "a\n"}, ""),
        ({"name": "a\x07b"}, "name"),
        ({"tag": "a\x00"}, "tag"),
        ({"tag": "a b"}, "tag"),
        ({"tag": ""}, "tag"),
        ({"target": "x", "tag": None}, "target"),
        ({"id": str(uuid4())}, "Extra inputs"),
        ({"weekly": WEEKLY | {"days": []}}, "days"),
        ({"weekly": WEEKLY | {"days": ["sun", "sun"]}}, "days must be unique"),
        ({"weekly": WEEKLY | {"days": ["Sunday"]}}, "days"),
        ({"weekly": WEEKLY | {"start": "24:00"}}, "start"),
        ({"weekly": WEEKLY | {"start": "2:00"}}, "start"),
        ({"weekly": WEEKLY | {"start": "12:30\n"}}, "start"),
        ({"weekly": WEEKLY | {"minutes": 0}}, "minutes"),
        ({"weekly": WEEKLY | {"days": ["sun"], "minutes": MAX_MINUTES + 1}}, "minutes"),
        ({"weekly": ALL_WEEK | {"days": ["sun"], "minutes": MAX_MINUTES}}, "would never end"),
        ({"weekly": ALL_WEEK | {"days": list(DAYS), "minutes": 1440}}, "would never end"),
        ({"weekly": WEEKLY | {"timezone": "Europe/Berln"}}, "did you mean Europe/Berlin?"),
        ({"weekly": WEEKLY | {"timezone": "../../etc/passwd"}}, "unknown time zone"),
        ({"weekly": WEEKLY | {"timezone": "Europe"}}, "unknown time zone"),
        ({"weekly": WEEKLY | {"timezone": ""}}, "unknown time zone"),
        ({"weekly": None, "once": ONCE | {"ends_at": None}}, "ends_at"),
        ({"weekly": None, "once": {"starts_at": ONCE["starts_at"]}}, "ends_at"),
        ({"weekly": None, "once": ONCE | {"ends_at": "2027-01-01T22:00:00+01:00"}}, "after starts_at"),
        ({"weekly": None, "once": ONCE | {"ends_at": "2027-01-01T22:00:00"}}, "timezone info"),
        ({"weekly": None, "once": ONCE | {"ends_at": "9999-12-31T23:59:59-14:00"}}, f"within {MAX_LENGTH.days} days"),
        ({"weekly": None, "once": {"starts_at": "0001-01-01T00:00:00+14:00", "ends_at": ONCE["ends_at"]}}, "within"),
    ],
)
def test_settings_that_are_not_valid_are_refused_with_the_reason(values: dict[str, Any], problem: str) -> None:
    if not problem:
        assert WindowSettings.model_validate(settings(**values)).name == "a"
        return
    with pytest.raises(ValidationError) as raised:
        WindowSettings.model_validate(settings(**values))
    assert problem in str(raised.value)


def test_a_window_may_be_nearly_always_in_effect() -> None:
    for days, minutes in ((["sun"], MAX_MINUTES - 1), (list(DAYS), 1439), (list(DAYS[:-1]), 2 * 1440 - 1)):
        WindowSettings.model_validate(settings(weekly=ALL_WEEK | {"days": days, "minutes": minutes}))


NOW = datetime(2027, 1, 1, 22, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("starts_at", "ends_at", "problem"),
    [
        (-2, -1, "has ended already"),
        (-2, 0, "has ended already"),
        (-2, 1, None),
        (MAX_AHEAD // timedelta(hours=1) + 1, MAX_AHEAD // timedelta(hours=1) + 2, "must start within"),
    ],
)
def test_a_window_that_has_ended_or_is_far_away_is_refused(starts_at: int, ends_at: int, problem: str | None) -> None:
    once = {"starts_at": NOW + timedelta(hours=starts_at), "ends_at": NOW + timedelta(hours=ends_at)}
    reason = WindowSettings.model_validate(settings(weekly=None, once=once)).refused(NOW)
    assert (problem or "") in (reason or "")
    assert bool(problem) == bool(reason)


@pytest.mark.parametrize(
    ("hours", "active", "following"),
    [(-1, False, True), (0, True, True), (1.99, True, True), (2, False, False), (30, False, False)],
)
def test_a_window_is_active_from_its_start_until_before_its_end(hours: float, active: bool, following: bool) -> None:
    once = {"starts_at": NOW, "ends_at": NOW + timedelta(hours=2)}
    window = MaintenanceWindow.model_validate(settings(weekly=None, once=once, id=uuid4()))
    view = WindowView.of(window, NOW + timedelta(hours=hours))
    assert (view.active, view.next is not None) == (active, following)


def test_a_period_that_has_ended_is_planned_for_another_day_and_the_following_ones_for_two_weeks() -> None:
    window = WindowSettings.model_validate(settings(weekly=WEEKLY | {"days": ["fri"], "start": "23:00"}))
    periods = window.periods(NOW + timedelta(hours=2))
    assert [period.starts_at - NOW for period in periods] == [timedelta(days=days) for days in (0, 7, 14)]
    assert len(window.periods(NOW + timedelta(hours=2) + KEPT)) == 2
    assert timedelta(days=14) < HORIZON


def target(**values: Any) -> Target:
    return Target.of(TargetSettings(name="a", spec=TcpSpec(host="a", port=1), enabled=values.pop("enabled", True)))


@pytest.mark.parametrize(
    ("since", "until", "enabled", "expected"),
    [(-5, 5, True, True), (1, 5, True, False), (-5, -1, True, False), (-5, 5, False, False), (None, None, True, False)],
)
def test_a_target_is_in_maintenance_within_its_period(
    since: int | None, until: int | None, enabled: bool, expected: bool
) -> None:
    now = datetime.now(UTC)
    period = {
        "maintenance_from": None if since is None else now + timedelta(minutes=since),
        "maintenance_until": None if until is None else now + timedelta(minutes=until),
    }
    known = target(enabled=enabled).model_copy(update=period)
    view = TargetView.combine(known, Standing(since=now), None, now)
    assert (known.is_in_maintenance, view.in_maintenance) == (expected, expected)
    assert view.maintenance_until == period["maintenance_until"]


def test_a_window_that_this_release_cannot_read_is_left_out() -> None:
    readable = {"id": uuid4(), "name": "a", "target": None, "tag": "web", "once": None, "weekly": WEEKLY}
    unreadable = readable | {"id": uuid4(), "weekly": WEEKLY | {"every": 2}}
    assert [window.id for window in _readable([unreadable, readable])] == [readable["id"]]


class Store:
    """Windows in memory."""

    def __init__(self) -> None:
        self.known: dict[UUID, MaintenanceWindow] = {}
        self.targets = {UUID(int=1)}
        self.limit = MAX_WINDOWS
        self.current = datetime.now(UTC)

    async def now(self) -> datetime:
        return self.current

    async def by_name(self, target: UUID | None, after: str, limit: int) -> tuple[list[MaintenanceWindow], datetime]:
        found = sorted(self.known.values(), key=lambda each: each.name)
        chosen = [each for each in found if each.name > after and target in (None, each.target)]
        return chosen[:limit], self.current

    async def get(self, window: UUID) -> tuple[MaintenanceWindow, datetime] | None:
        return (self.known[window], self.current) if window in self.known else None

    async def add(self, values: WindowSettings) -> WindowChange:
        if len(self.known) >= self.limit:
            raise TooManyWindowsError
        return self._put(uuid4(), values)

    async def replace(self, window: UUID, values: WindowSettings) -> WindowChange | None:
        return self._put(window, values) if window in self.known else None

    async def delete(self, window: UUID) -> WindowChange | None:
        found = self.known.pop(window, None)
        return WindowChange(found, self.current, [UUID(int=1)]) if found else None

    def _put(self, identity: UUID, values: WindowSettings) -> WindowChange:
        if any(each.name == values.name and each.id != identity for each in self.known.values()):
            raise WindowNameTakenError
        if values.target and values.target not in self.targets:
            raise WindowTargetError(values.target)
        self.known[identity] = MaintenanceWindow(**dict(values), id=identity)
        return WindowChange(self.known[identity], self.current, [UUID(int=1)])


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def reader() -> Any:
    return Mock(maintenance_changed=AsyncMock())


@pytest.fixture
async def client(store: Any, reader: Any, app_settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    problems.install(app)
    api.install(app)
    app.include_router(api.router(reader, store, access.TokenAuth(app_settings)))
    token = {"Authorization": f"Bearer {app_settings.api_token}"}
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app", headers=token) as client:
        yield client


@pytest.mark.anyio
async def test_a_window_is_added_changed_and_deleted(client: httpx.AsyncClient, store: Store, reader: Any) -> None:
    answer = await client.post("/api/maintenance", json=settings())
    assert answer.status_code == 201
    window = answer.json()
    assert answer.headers["location"] == f"/api/maintenance/{window['id']}"
    assert window.items() >= (settings() | {"target": None, "once": None}).items()
    assert {*window} == {"id", "name", "target", "tag", "once", "weekly", "active", "next"}
    assert (await client.get(answer.headers["location"])).json() == window
    reader.maintenance_changed.assert_awaited_with([UUID(int=1)])

    ends_at = store.current + timedelta(hours=1)
    once = {"starts_at": store.current.isoformat(), "ends_at": ends_at.isoformat()}
    changed = {"name": "Once", "target": str(UUID(int=1)), "once": once}
    answer = await client.put(f"/api/maintenance/{window['id']}", json=changed)
    assert answer.status_code == 200
    assert answer.json()["active"]
    assert datetime.fromisoformat(answer.json()["next"]["ends_at"]) == ends_at
    assert (await client.delete(f"/api/maintenance/{window['id']}")).status_code == 204
    assert (store.known, reader.maintenance_changed.await_count) == ({}, 3)


@pytest.mark.anyio
async def test_windows_are_listed_page_by_page(client: httpx.AsyncClient) -> None:
    for name in ("b", "a & é", "c"):
        await client.post("/api/maintenance", json=settings(name=name))
    names, path = [], "/api/maintenance?limit=2"
    while path:
        page = await client.get(path)
        names.append([window["name"] for window in page.json()])
        path = page.links.get("next", {}).get("url", "")
    assert names == [["a & é", "b"], ["c"]]
    assert (await client.get(f"/api/maintenance?target={UUID(int=1)}")).json() == []


@pytest.mark.anyio
async def test_refused_requests_change_nothing(client: httpx.AsyncClient, store: Store, reader: Any) -> None:
    window = (await client.post("/api/maintenance", json=settings())).json()["id"]
    await client.post("/api/maintenance", json=settings(name="Other"))
    before, path = dict(store.known), f"/api/maintenance/{window}"
    past = {"starts_at": "2026-01-01T00:00:00Z", "ends_at": "2026-01-02T00:00:00Z"}
    for method, url, body, status, reason in (
        ("POST", "/api/maintenance", settings(), 409, "Choose another name"),
        ("PUT", path, settings(name="Other"), 409, "Choose another name"),
        ("POST", "/api/maintenance", settings(name="x", tag=None, target=str(UUID(int=9))), 422, "no target 0"),
        ("POST", "/api/maintenance", settings(name="x", weekly=None, once=past), 422, "it has ended already"),
        ("PUT", path, settings(weekly=None, once=past), 422, "it has ended already"),
        ("POST", "/api/maintenance", settings(name="x", tag=None), 422, "either target or tag"),
        ("PUT", f"/api/maintenance/{UUID(int=5)}", settings(name="x"), 404, "no maintenance window 0"),
        ("DELETE", f"/api/maintenance/{UUID(int=5)}", None, 404, "no maintenance window 0"),
        ("GET", f"/api/maintenance/{UUID(int=5)}", None, 404, "no maintenance window 0"),
        ("GET", "/api/maintenance?cursor=%21", None, 422, "not a cursor"),
        ("GET", "/api/maintenance?limit=0", None, 422, "limit"),
    ):
        answer = await client.request(method, url, json=body)
        assert (answer.status_code, reason in answer.text) == (status, True), (method, url, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
    store.limit = 2
    answer = await client.post("/api/maintenance", json=settings(name="third"))
    assert (answer.status_code, "Delete a window" in answer.text) == (409, True)
    del client.headers["authorization"]
    for method, url in (("POST", "/api/maintenance"), ("PUT", path), ("DELETE", path)):
        assert (await client.request(method, url, json=settings(name="y"))).status_code == 401
    assert store.known == before
    assert reader.maintenance_changed.await_count == 2
