"""The configuration as a whole over HTTP: targets and maintenance windows, all or nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from netmon import web
from netmon.api.configuration_plan import Configuration, plan_configuration
from netmon.bulk_store import Stored
from netmon.maintenance import DAYS, MaintenanceWindow, Once, Weekly, WindowSettings, WindowView
from netmon.target_models import Target, TargetView
from tests.unit.app.fake_api import Database, is_problem
from tests.unit.app.properties import PROPERTY
from tests.unit.app.test_app_bulk import names, permits, shown, stored_targets, target

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
SCHEDULES = st.one_of(
    st.builds(
        Once,
        starts_at=st.integers(-100, 100).map(lambda hours: NOW + timedelta(hours=hours)),
        ends_at=st.integers(101, 200).map(lambda hours: NOW + timedelta(hours=hours)),
    ),
    st.builds(
        Weekly,
        days=st.lists(st.sampled_from(DAYS), min_size=1, max_size=7, unique=True),
        start=st.sampled_from(["00:00", "02:30", "23:59"]),
        minutes=st.integers(1, 1439),
        timezone=st.sampled_from(["Europe/Berlin", "UTC", "Asia/Kathmandu"]),
    ),
)


@st.composite
def stored(draw: st.DrawFn) -> Stored:
    """Targets, and windows of them or of tags."""
    targets = draw(stored_targets)
    windows = []
    for name in draw(st.lists(names, max_size=4, unique=True)):
        schedule = draw(SCHEDULES)
        chosen = draw(st.sampled_from([None, *targets]))
        subject: dict[str, Any] = {"target": chosen.id} if chosen else {"tag": "web"}
        subject["once" if isinstance(schedule, Once) else "weekly"] = schedule
        windows.append(MaintenanceWindow(id=uuid4(), name=name, **subject))
    return Stored(targets, windows, NOW)


@given(stored(), st.booleans())
@PROPERTY
def test_responses_that_are_sent_back_change_nothing(before: Stored, prune: bool) -> None:
    body = {
        "targets": json.loads(TypeAdapter(list[TargetView]).dump_json([shown(each) for each in before.targets])),
        "maintenance": json.loads(
            TypeAdapter(list[WindowView]).dump_json([WindowView.of(each, NOW) for each in before.windows])
        ),
    }
    plan = plan_configuration(Configuration.model_validate_json(json.dumps(body)), before, permits, prune=prune)
    assert not plan.change.windows.any
    assert (plan.change.create, plan.change.update, list(plan.change.delete)) == ([], [], [])
    assert plan.windows
    assert plan.windows.unchanged == len(before.windows)
    assert (plan.windows.missing, plan.windows.ended) == ([], [])


WEEKLY = {"days": ["sun"], "start": "02:30", "minutes": 90, "timezone": "Europe/Berlin"}


def window(name: str, **changed: Any) -> dict[str, Any]:
    return {"name": name, "tag": "web", "weekly": WEEKLY, **changed}


async def put(client: httpx.AsyncClient, body: dict[str, Any], query: str = "") -> dict[str, Any]:
    response = await client.put(f"/api/configuration{query}", json=body)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def test_targets_and_windows_are_changed_together(client: httpx.AsyncClient, services: Database) -> None:
    own = window("own", tag=None, target="a")
    body = {"targets": [target("a")], "maintenance": [window("web"), own]}
    preview = await put(client, body, "?dry_run=true")
    assert preview["maintenance"]["created"] == ["web", "own"]
    assert (services.targets, services.windows) == ({}, [])
    done = await put(client, body)
    [added] = services.targets.values()
    assert [(each.name, each.target) for each in services.windows] == [("web", None), ("own", added.id)]
    assert (done["created"][0]["name"], done["maintenance"]["created"]) == ("a", ["web", "own"])
    assert (await put(client, body))["maintenance"]["unchanged"] == 2

    own |= {"target": str(added.id), "weekly": WEEKLY | {"minutes": 30}}
    changed = await put(client, {"targets": [target("a")], "maintenance": [own]})
    assert changed["maintenance"]["updated"] == [
        {"name": "own", "changes": [{"field": "weekly.minutes", "before": 90, "after": 30}]}
    ]
    assert changed["maintenance"]["missing"] == ["web"]
    await put(client, {"targets": [target("a")]}, "?prune=true")
    assert len(services.windows) == 2, "without a list of windows they stay as they are"
    pruned = await put(client, {"targets": [target("a")], "maintenance": [own]}, "?prune=true")
    assert pruned["maintenance"]["deleted"] == ["web"]
    assert [each.name for each in services.windows] == ["own"]


async def test_a_window_that_has_ended_is_neither_created_nor_missing(
    client: httpx.AsyncClient, services: Database
) -> None:
    once = {"starts_at": "2020-01-01T10:00:00Z", "ends_at": "2020-01-01T11:00:00Z"}
    ended = window("old", weekly=None, once=once)
    done = await put(client, {"targets": [], "maintenance": [ended]})
    assert done["maintenance"] == {
        "created": [], "updated": [], "deleted": [], "missing": [], "ended": ["old"], "unchanged": 0
    }  # fmt: skip
    services.windows = [MaintenanceWindow(id=uuid4(), name="old", tag="web", once=Once.model_validate(once))]
    assert (await put(client, {"targets": [], "maintenance": []}))["maintenance"]["missing"] == []
    assert (await put(client, {"targets": [], "maintenance": [ended]}))["maintenance"]["unchanged"] == 1


MISTAKES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"targets": [target("b")], "maintenance": [window("w", target="b")]}, "body/maintenance/0"),
    ({"targets": [target("b")], "maintenance": [window("w", tag=None, target="c")]}, "body/maintenance/0/target"),
    ({"targets": [target("b")], "maintenance": [window("w", tag="a b")]}, "body/maintenance/0/tag"),
    ({"targets": [target("b")], "maintenance": [window("w"), window("w")]}, "body/maintenance/0/name"),
    ({"targets": [target("b")], "maintenance": [window("a\x00")]}, "body/maintenance/0/name"),
    ({"targets": [target("b", retries=9)], "maintenance": [window("w")]}, "body/targets/0/retries"),
    ({"targets": [target("b"), target("b")], "maintenance": []}, "body/targets/0/name"),
    ({"maintenance": []}, "body/targets"),
    ({"targets": [], "windows": []}, "body/windows"),
)


@pytest.mark.parametrize(("body", "at"), MISTAKES)
async def test_a_mistake_changes_nothing(
    client: httpx.AsyncClient, services: Database, body: dict[str, Any], at: str
) -> None:
    problem = is_problem(await client.put("/api/configuration", json=body), 422)
    assert problem["errors"][0]["at"] == at
    assert (services.targets, services.windows) == ({}, [])


async def test_a_window_of_a_deleted_target_is_a_mistake(client: httpx.AsyncClient, services: Database) -> None:
    await put(client, {"targets": [target("a")], "maintenance": [window("w", tag=None, target="a")]})
    body = {"targets": [], "maintenance": [window("w", tag=None, target="a")]}
    problem = is_problem(await client.put("/api/configuration?prune=true", json=body), 422)
    assert problem["errors"][0]["at"] == "body/maintenance/0/target"
    assert len(services.targets) == 1


async def test_the_whole_configuration_may_be_large(client: httpx.AsyncClient) -> None:
    body = {"targets": [target(f"target {number}") for number in range(1000)]}
    assert len(json.dumps(body)) > web.MAX_BODY
    await put(client, body, "?dry_run=true")


def test_the_settings_of_a_window_are_those_of_its_body() -> None:
    body = set(Configuration.model_json_schema()["$defs"]["WindowBody"]["properties"])
    assert body == set(WindowSettings.model_fields)
    assert Target.model_fields.keys() >= {"maintenance_from", "maintenance_until"}
