"""Heartbeat URLs over HTTP with a fake store: who gets them, and that tokens are in no log, trace or metric."""

import itertools
import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from netmon.heartbeat_store import Report
from tests.unit.app.fake_api import Database, added, is_problem

pytestmark = pytest.mark.anyio

JOB = {"kind": "heartbeat", "grace_seconds": 5}


async def job(client: httpx.AsyncClient, **settings: Any) -> tuple[str, str]:
    """The id of a new target, and the path of its URL."""
    target = await added(client, "Job", spec=JOB, **settings)
    answer = await client.post(f"/api/targets/{target['id']}/heartbeat-url")
    assert answer.status_code == 201, answer.text
    return target["id"], answer.json()["path"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_a_heartbeat_needs_no_other_token(client: httpx.AsyncClient, services: Database, method: str) -> None:
    _, path = await job(client)
    del client.headers["authorization"]
    answers = [
        await client.request(method, path, content=b"ignored" if method == "POST" else None),
        await client.request(method, f"{path}?status=fail&message=disk%20full&duration_ms=12.5"),
        await client.request(method, f"{path}/fail?message=disk%20full"),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}
    assert services.heartbeats.received == [
        Report(),
        Report(True, "disk full", 12.5),
        Report(True, "disk full"),
    ]


async def test_a_new_url_replaces_the_former_one_and_can_be_revoked(client: httpx.AsyncClient) -> None:
    target, first = await job(client)
    second = (await client.post(f"/api/targets/{target}/heartbeat-url")).json()["path"]
    is_problem(await client.get(first), 404)
    assert (await client.get(second)).status_code == 200
    assert (await client.delete(f"/api/targets/{target}/heartbeat-url")).status_code == 204
    problem = is_problem(await client.get(second), 404)
    assert second.rpartition("/")[2] not in json.dumps(problem)


async def test_only_holders_of_the_write_token_get_a_url(client: httpx.AsyncClient, services: Database) -> None:
    target, path = await job(client)
    token = client.headers.pop("authorization")
    for method in ("POST", "DELETE"):
        is_problem(await client.request(method, f"/api/targets/{target}/heartbeat-url"), 401)
    assert list(services.heartbeats.tokens.values()) == [UUID(target)]
    client.headers["authorization"] = token
    shown = await client.patch(f"/api/targets/{target}", json={"interval_seconds": 30})
    assert path.rpartition("/")[2] not in shown.text


async def test_a_target_of_another_kind_has_no_url(client: httpx.AsyncClient) -> None:
    site = (await added(client, "Site"))["id"]
    for method in ("POST", "DELETE"):
        problem = is_problem(await client.request(method, f"/api/targets/{site}/heartbeat-url"), 409)
        assert problem["detail"].startswith("The target is of kind http: ")
        is_problem(await client.request(method, f"/api/targets/{uuid4()}/heartbeat-url"), 404)


async def test_a_heartbeat_target_is_not_probed(client: httpx.AsyncClient, services: Database) -> None:
    target, _ = await job(client)
    problem = is_problem(await client.post(f"/api/targets/{target}/probes"), 409)
    assert problem["detail"] == "A target of kind heartbeat is not probed: it reports itself."
    assert services.jobs == []


async def test_a_paused_target_ignores_heartbeats_and_reports_that(client: httpx.AsyncClient) -> None:
    _, path = await job(client, enabled=False)
    answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.json() == {"outcome": "ignored", "detail": "The target is paused: the heartbeat is ignored."}


async def test_a_heartbeat_that_cannot_be_stored_is_retried_by_the_client(
    client: httpx.AsyncClient, services: Database
) -> None:
    _, path = await job(client)
    services.heartbeats.too_early = timedelta(seconds=0.4)
    answer = await client.get(path)
    is_problem(answer, 429)
    assert answer.headers["retry-after"] == "1"
    services.unavailable = {"database"}
    is_problem(await client.get(path), 503)


@pytest.mark.parametrize("dependency", ["cache", "queue"])
async def test_a_heartbeat_needs_the_database_only(
    client: httpx.AsyncClient, services: Database, dependency: str
) -> None:
    _, path = await job(client)
    services.unavailable = {dependency}
    assert (await client.get(path)).json()["outcome"] == "stored"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=maybe", "status"),
        ("duration_ms=-1", "duration_ms"),
        ("duration_ms=nan", "duration_ms"),
        ("duration_ms=inf", "duration_ms"),
        ("duration_ms=604800001", "duration_ms"),
        ("duration_ms=soon", "duration_ms"),
    ],
)
async def test_an_invalid_report_is_a_problem_at_its_field(
    client: httpx.AsyncClient, services: Database, query: str, field: str
) -> None:
    _, path = await job(client)
    problem = is_problem(await client.get(f"{path}?{query}"), 422)
    assert [error["at"] for error in problem["errors"]] == [f"query/{field}"]
    assert path.rpartition("/")[2] not in json.dumps(problem)
    assert services.heartbeats.received == []


async def test_a_token_is_in_no_log_trace_or_metric(
    client: httpx.AsyncClient, services: Database, spans: InMemorySpanExporter
) -> None:
    target, path = await job(client)
    token = path.rpartition("/")[2]
    with capture_logs() as lines:
        urls = (path, f"{path}/fail", f"{path}/other", f"/API/heartbeats/{token}", f"/api/heartbeat/{token}")
        for method, url in itertools.product(("GET", "POST", "DELETE"), urls):
            await client.request(method, f"{url}?message=hidden-text")
        services.unavailable = {"database"}
        await client.get(path)
        services.heartbeats.tokens[token] = uuid4()  # an error of this program
        services.unavailable = set()
        is_problem(await client.get(path), 500)
    metrics = (await client.get("/api/metrics")).text
    traced = [(span.name, dict(span.attributes or {})) for span in spans.get_finished_spans()]
    assert len(lines) > 16
    assert len(traced) > 16
    assert "/api/heartbeats/{token}" in metrics
    for kept in (str(lines), str(traced), metrics):
        assert token not in kept
        assert "hidden-text" not in kept
    assert {line["path"] for line in lines if "path" in line} >= {"/api/heartbeats/•••", "/api/heartbeat/hb_•••"}
    assert str(target) not in metrics


async def test_heartbeats_are_described_by_method(client: httpx.AsyncClient) -> None:
    document = (await client.get("/api/openapi.json")).json()
    for path in ("/api/heartbeats/{token}", "/api/heartbeats/{token}/fail"):
        operations = document["paths"][path]
        assert set(operations) == {"get", "post"}
        assert all("security" not in operation for operation in operations.values())
    identities = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(set(identities)) == len(identities)
