"""The API over HTTP with fake services: responses, problems, request ids, metrics."""

import json
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from psycopg import OperationalError
from starlette.exceptions import HTTPException

from netmon.api import until_healthy
from netmon.api.on_demand import RateLimiter
from netmon.api.targets import TargetPatch
from netmon.models import Outcome, Probe
from netmon.settings import load
from netmon.target_models import TargetSettings
from tests.unit.app.fake_api import JSON, SPEC, Database, added, connected, is_problem

pytestmark = pytest.mark.anyio


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
        "4:overview",
        f"4:target:{target}",
        f"statistics:{target}:1h",
        f"4:series:{target}:30d",
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
