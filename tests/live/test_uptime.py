"""Uptime by time, and the order of results, on a running stack."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.live import pipeline
from tests.live.stack import Stack, until

STORE = """
import asyncio, os, sys
from datetime import UTC, datetime, timedelta
from uuid import UUID
from netmon.database import Database
from netmon.models import Job, Outcome
from netmon.result_store import ResultStore
from netmon.settings import load
from netmon.target_store import TargetStore

async def main(target, *results):
    database = Database(load(os.environ).database_url, "test")
    await database.prepare()
    for result in results:
        status, seconds = result.split(":")
        planned = await TargetStore(database).planned(UUID(target))
        at = datetime.now(UTC) + timedelta(seconds=float(seconds))
        error = "connect" if status == "failed" else None
        probe = Job.of(planned.plan, target).probe.finished(
            Outcome(status=status, finished_at=at, duration_ms=1, error=error))
        print((await ResultStore(database).store(probe, planned.generation)).id, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""
"""Stores results of a target, each of a worker whose clock is ahead by some seconds."""
LATEST = """
import asyncio, os, sys
from datetime import UTC, datetime, timedelta
from uuid import uuid4
from netmon.database import Database
from netmon.latest_states import KEY_PREFIX, LatestStates
from netmon.models import Outcome, Probe
from netmon.result_store import ResultStore
from netmon.settings import load

def finished(target, seconds):
    now = datetime.now(UTC)
    at = now + timedelta(seconds=float(seconds))
    return Probe(id=uuid4(), url="http://a/", target=target, requested_at=now).finished(
        Outcome(status="succeeded", finished_at=at, duration_ms=1))

async def main(command, target, *seconds):
    settings = load(os.environ)
    latest, database = LatestStates(settings.redis_url), Database(settings.database_url, "test")
    if command == "forget":
        await latest.delete(target)
    if command == "former":
        probe = finished(target, seconds[0])
        entry = {"at": round(probe.finished_at.timestamp() * 1e6), "state": probe.encode()}
        await latest._redis.delete(f"{KEY_PREFIX}latest:{target}")
        await latest._redis.hset(f"{KEY_PREFIX}latest:{target}", mapping=entry)
    if command == "store":
        await database.prepare()
        for each in seconds:
            print((await ResultStore(database).store(finished(target, each))).id, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""
"""Writes a state to Redis as the former release does, deletes it, or stores results of a URL."""
SETTLE = """
import asyncio, os, sys
from datetime import UTC, datetime, timedelta
from uuid import UUID
from netmon.database import Database
from netmon.periods import Interval
from netmon.settings import load
from netmon.standings import settle

async def main(target):
    database = Database(load(os.environ).database_url, "test")
    await database.prepare()
    now = datetime.now(UTC)
    window = Interval(now - timedelta(seconds=0.2), now + timedelta(hours=1))
    async with database.transaction() as connection:
        await settle(connection, {UUID(target): window})

asyncio.run(main(sys.argv[1]))
"""
"""Settles the periods of a target whose maintenance window has begun a moment ago."""
SPEC = {"kind": "http", "url": "http://app:3000/api/health/live"}
DAYS = 100


@pytest.fixture
def target(stack: Stack) -> Iterator[str]:
    """A target that is probed once, and then up; a single failure changes its state."""
    body = {"name": f"=uptime {uuid4()}", "spec": SPEC, "interval_seconds": 86_400, "failures": 1, "window": 1}
    answer = requests.post(stack.url("/api/targets"), json=body, headers=stack.authorization(), timeout=10)
    assert answer.status_code == 201, answer.text
    identity: str = answer.json()["id"]
    until(lambda: get(stack, f"/targets/{identity}")["standing"]["state"] == "up", 30, "the first result")
    yield identity
    requests.delete(stack.url(f"/api/targets/{identity}"), headers=stack.authorization(), timeout=10)


def get(stack: Stack, path: str) -> Any:
    """The JSON response of the API."""
    answer = requests.get(stack.url(f"/api{path}"), timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()


def store(stack: Stack, target: str, *results: str) -> str:
    """Store results, each `STATUS:SECONDS AHEAD`; returns the id of the last one."""
    return stack.exec("worker", "python", "-c", STORE, target, *results).splitlines()[-1]


@pytest.mark.parametrize("redis", ["running", "stopped"])
def test_a_result_from_the_future_does_not_hide_the_next_one(stack: Stack, target: str, redis: str) -> None:
    """As if the clock had been an hour ahead, and was put back."""

    def shown() -> bool:
        body = get(stack, f"/targets/{target}")
        page = requests.get(stack.url(f"/targets/{target}"), timeout=10).text
        newest = (body["latest"]["id"], get(stack, f"/targets/{target}/latest")["id"])
        listed = get(stack, f"/targets?q={target_name}")[0]
        states = {body["standing"]["state"], listed["standing"]["state"]}
        return newest == (last, last) and listed["latest"]["id"] == last and states == {"down"} and "is down" in page

    target_name = get(stack, f"/targets/{target}")["name"].removeprefix("=")
    if redis == "stopped":
        stack.control("stop", "redis")
    try:
        first = store(stack, target, "succeeded:3600")
        until(lambda: get(stack, f"/targets/{target}")["latest"]["id"] == first, 8, "the first result to be shown")
        last = store(stack, target, "failed:0")
        until(shown, 8, "the second result to be shown")
        [standing] = pipeline.sql(stack, f"SELECT since <= now() AS past FROM standings WHERE target = '{target}'")  # noqa: S608
        assert standing["past"], "the state does not begin in the future"
        [incident] = get(stack, f"/incidents?target={target}")
        assert datetime.fromisoformat(incident["started_at"]) <= datetime.now(UTC) + timedelta(seconds=1)
    finally:
        if redis == "stopped":
            stack.control("start", "redis")
            stack.wait_until_recovered()


def test_states_of_a_clock_that_was_put_back_are_replaced(stack: Stack, target: str) -> None:
    """Everything that was stored, by whichever release, has a time in the future."""
    future = "now() + interval '1 hour'"
    for statement in (
        f"UPDATE standings SET since = {future}, stored_at = {future} WHERE target = '{target}'",  # noqa: S608
        f"UPDATE probes SET finished_at = {future} WHERE target = '{target}'",  # noqa: S608
        f"UPDATE standings SET observed_from = {future}, overdue_at = {future} WHERE target = '{target}'",  # noqa: S608
        f"INSERT INTO periods VALUES ('{target}', 'up', now() - interval '5 min', now() + interval '5 min'), "  # noqa: S608
        f"('{target}', 'down', now() + interval '5 min', {future})",
    ):
        pipeline.execute(stack, statement)
    version = f"SELECT version, latest FROM standings WHERE target = '{target}'"  # noqa: S608
    [before] = pipeline.sql(stack, version)
    assert before["latest"] is None, "the former release does not know the column"
    stack.exec("worker", "python", "-c", LATEST, "former", target, "3600")
    last = store(stack, target, "failed:0")
    [after] = pipeline.sql(stack, version)
    assert (after["latest"], after["version"] > before["version"]) == (last, True)
    until(lambda: get(stack, f"/targets/{target}")["latest"]["id"] == last, 8, "the result to be shown")
    assert get(stack, f"/targets/{target}")["standing"]["state"] == "down"
    [period] = rows(stack, target)
    assert period["state"] == "up"
    [standing] = pipeline.sql(stack, f"SELECT observed_state, observed_from FROM standings WHERE target = '{target}'")  # noqa: S608
    assert (standing["observed_state"], standing["observed_from"]) == ("down", period["ended_at"])


def test_the_latest_result_of_a_url_is_not_one_from_the_future(stack: Stack) -> None:
    key = f"http:{uuid4()}:80"

    def latest() -> tuple[str, str]:
        answer = requests.get(stack.url(f"/api/targets/{key}/latest"), timeout=10)
        return (answer.json()["id"], answer.headers["X-Cache"]) if answer.ok else ("", "")

    _, last = stack.exec("worker", "python", "-c", LATEST, "store", key, "3600", "-1").splitlines()[-2:]
    until(lambda: latest() == (last, "hit"), 10, "the event to be applied")
    stack.exec("worker", "python", "-c", LATEST, "forget", key)
    assert latest() == (last, "miss"), "from the database"


def test_a_change_by_the_former_release_is_versioned_and_ends_observation(stack: Stack, target: str) -> None:
    query = (
        "SELECT version, latest, generation, overdue_at <= now() AS overdue FROM standings "  # noqa: S608
        f"WHERE target = '{target}'"
    )
    [before] = pipeline.sql(stack, query)
    assert before["latest"]
    change = "UPDATE standings SET state = '{}', since = now(), stored_at = now() WHERE target = '{}'"
    pipeline.execute(stack, change.format("up", target))
    [same] = pipeline.sql(stack, query)
    assert same["version"] > before["version"]
    assert (same["latest"], same["generation"], same["overdue"]) == (None, before["generation"], False)
    pipeline.execute(stack, change.format("down", target))
    pipeline.execute(stack, change.format("unknown", target))
    [reset] = pipeline.sql(stack, query)
    assert reset["version"] > same["version"]
    assert (reset["generation"], reset["overdue"]) == (before["generation"] + 1, True)


def test_periods_are_settled_before_a_maintenance_window_changes(stack: Stack, target: str) -> None:
    stack.exec("worker", "python", "-c", SETTLE, target)
    up, maintenance = rows(stack, target)
    assert (up["state"], maintenance["state"]) == ("up", "maintenance")
    assert up["ended_at"] == maintenance["started_at"]
    [standing] = pipeline.sql(
        stack,
        f"SELECT latest, observed_state, observed_from FROM standings WHERE target = '{target}'",  # noqa: S608
    )
    assert (standing["observed_state"], standing["observed_from"]) == ("up", maintenance["ended_at"])
    assert standing["latest"], "the order of results is not affected"


def test_uptime_follows_states_pauses_and_resumption(stack: Stack) -> None:
    with pipeline.target_server(stack) as server:
        target = pipeline.add_target(stack, server.url)
        try:
            until(lambda: pipeline.state(stack, target) == "up", 20, "the target to be up")
            until(lambda: span(stack, target)["up_seconds"] > 6, 30, "six seconds to be observed")
            assert rows(stack, target) == [], "results that continue a state write no period"
            server.status = 500
            until(lambda: pipeline.state(stack, target) == "down", 20, "the target to be down")
            until(lambda: span(stack, target)["down_seconds"] > 3, 30, "the downtime to grow")
            assert [row["state"] for row in rows(stack, target)] == ["up"]
            found = span(stack, target)
            assert 0 < found["uptime_percent"] < 100
            headers = stack.authorization()
            requests.patch(
                stack.url(f"/api/targets/{target}"), json={"enabled": False}, headers=headers, timeout=10
            ).raise_for_status()
            ended = rows(stack, target)
            assert [row["state"] for row in ended] == ["up", "down"]
            assert ended[0]["ended_at"] == ended[1]["started_at"]
            until(lambda: span(stack, target)["unobserved_seconds"] > 3, 30, "the pause to be unobserved")
            parts = span(stack, target)
            length = (
                datetime.fromisoformat(parts["ended_at"]) - datetime.fromisoformat(parts["started_at"])
            ).total_seconds()
            assert parts["observed_seconds"] + parts["unobserved_seconds"] == pytest.approx(length, abs=0.01)
            file = requests.get(
                stack.url("/api/uptime?period=24h&tag=live-test"), headers={"Accept": "text/csv"}, timeout=10
            )
            [row] = [each for each in csv.DictReader(io.StringIO(file.text)) if each["target"] == target]
            assert float(row["down_minutes"]) == pytest.approx(parts["down_seconds"] / 60, abs=0.01)
            listed = get(stack, "/uptime?period=24h&tag=live-test&limit=200")
            assert target in {each["target"] for each in listed}
        finally:
            pipeline.delete_targets(stack, target)
    assert rows(stack, target) == [], "the periods of a target are deleted with it"


def span(stack: Stack, target: str) -> dict[str, Any]:
    """The uptime of a target in the last 24 hours, not from the cache."""
    for each in get(stack, "/uptime?period=24h&tag=live-test&limit=200"):
        if each["target"] == target:
            return dict(each)
    raise AssertionError(f"{target} is not listed")


def rows(stack: Stack, target: str) -> list[dict[str, Any]]:
    """The closed periods of a target, oldest first."""
    found: list[dict[str, Any]] = pipeline.sql(
        stack,
        f"SELECT * FROM periods WHERE target = '{target}' ORDER BY ended_at",  # noqa: S608
    )
    return found


def test_the_sums_of_postgresql_are_those_of_each_period(stack: Stack) -> None:
    """Two targets with random periods: every span and month, and the list, against an obvious sum."""
    chance = random.Random(1)  # noqa: S311 - no secret
    now = datetime.now(UTC).replace(microsecond=0)
    targets = {pipeline.add_target(stack, "http://app:3000/", enabled=False): random_periods(chance, now) for _ in "ab"}
    try:
        for target, periods in targets.items():
            created = (now - timedelta(days=DAYS)).isoformat()
            pipeline.execute(stack, f"UPDATE targets SET created_at = '{created}' WHERE id = '{target}'")  # noqa: S608
            values = [
                {"target": target, "state": state, "started_at": start.isoformat(), "ended_at": end.isoformat()}
                for state, start, end in periods
            ]
            pipeline.execute(
                stack,
                f"INSERT INTO periods SELECT * FROM jsonb_populate_recordset(NULL::periods, '{json.dumps(values)}')",  # noqa: S608
            )
            found = get(stack, f"/targets/{target}/uptime")
            assert [each["period"] for each in found["spans"]] == ["24h", "7d", "30d", "90d"]
            assert len(found["months"]) >= 4
            for uptime in (*found["spans"], *found["months"]):
                require_sum(uptime, periods)
        for period in ("30d", found["months"][1]["period"]):
            listed = {each["target"]: each for each in get(stack, f"/uptime?period={period}&tag=live-test&limit=200")}
            for target, periods in targets.items():
                require_sum(listed[target], periods)
    finally:
        pipeline.delete_targets(stack, *targets)


Spell = tuple[str, datetime, datetime]


def random_periods(chance: random.Random, now: datetime) -> list[Spell]:
    """Periods of DAYS days, between some of which the target was not observed."""
    found, at = [], now - timedelta(days=DAYS)
    while at < now - timedelta(hours=1):
        end = min(at + timedelta(seconds=chance.randint(1, 200_000)), now)
        found.append((chance.choice(("up", "degraded", "down", "maintenance")), at, end))
        at = end + timedelta(seconds=chance.choice((0, 0, chance.randint(1, 20_000))))
    return found


def require_sum(uptime: dict[str, Any], periods: list[Spell]) -> None:
    """The seconds of an uptime must be those of the periods within it."""
    start, end = (datetime.fromisoformat(uptime[name]) for name in ("started_at", "ended_at"))
    expected = dict.fromkeys(("up", "degraded", "down", "maintenance"), 0.0)
    for state, since, until_ in periods:
        expected[state] += max((min(until_, end) - max(since, start)).total_seconds(), 0)
    for state, seconds in expected.items():
        assert uptime[f"{state}_seconds"] == pytest.approx(seconds, abs=0.01), (uptime["period"], state)
    observed = expected["up"] + expected["degraded"] + expected["down"]
    left = (end - start).total_seconds() - observed - expected["maintenance"]
    assert uptime["unobserved_seconds"] == pytest.approx(left, abs=0.01)
    # A month that has just begun may have no observed time.
    percent = pytest.approx(100 * (1 - expected["down"] / observed), abs=0.001) if observed else None
    assert uptime["uptime_percent"] == percent
