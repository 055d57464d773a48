"""Credentials of targets: responses mask them, the mask keeps them, and they are not sent elsewhere."""

from datetime import UTC, datetime
from uuid import UUID

import httpx
import pytest

from netmon.models import Standing
from netmon.secret_values import MASK
from netmon.specs import GrpcSpec, HttpSpec
from netmon.target_models import Target, TargetSettings, TargetView
from tests.unit.app.fake_api import SPEC, Database, added, is_problem

pytestmark = pytest.mark.anyio


def headers_of(services: Database, target: str) -> dict[str, str]:
    spec = services.targets[UUID(target)].spec
    assert isinstance(spec, HttpSpec | GrpcSpec)
    return spec.headers


async def test_a_target_is_added_and_its_headers_are_masked(client: httpx.AsyncClient, services: Database) -> None:
    body = await added(client)
    assert body["spec"]["headers"] == {"Authorization": MASK, "X-A": MASK}
    assert headers_of(services, body["id"]) == SPEC["headers"]
    assert services.invalidated == ["4:overview", "4:targets:first", "4:public", "3:overview", "3:targets:first"]


async def test_a_masked_header_value_is_kept(client: httpx.AsyncClient, services: Database) -> None:
    body = await added(client)
    settings = {name: body[name] for name in TargetSettings.model_fields}
    settings["spec"]["headers"] = {"authorization": MASK, "X-A": "c"}
    answer = await client.put(f"/api/targets/{body['id']}", json=settings)
    assert answer.json()["spec"]["headers"] == {"authorization": MASK, "X-A": MASK}
    assert headers_of(services, body["id"]) == {"authorization": "secret", "X-A": "c"}
    await client.patch(f"/api/targets/{body['id']}", json={"spec": {**SPEC, "headers": {"X-A": MASK}}})
    assert headers_of(services, body["id"]) == {"X-A": "c"}


async def test_a_masked_header_value_without_a_stored_one_is_rejected(client: httpx.AsyncClient) -> None:
    new = {"name": "B", "spec": {**SPEC, "headers": {"X-New": MASK}}}
    other = {"kind": "tcp", "host": "a", "port": 1}
    target = (await added(client, spec=other))["id"]
    for answer in (
        await client.post("/api/targets", json=new),
        await client.put(f"/api/targets/{target}", json=new),
        await client.patch(f"/api/targets/{target}", json={"spec": new["spec"]}),
    ):
        [error] = is_problem(answer, 422)["errors"]
        assert error["at"] == "body/spec/http/headers/X-New"


async def test_a_stored_header_value_is_not_sent_to_another_origin(
    client: httpx.AsyncClient, services: Database
) -> None:
    target = (await added(client))["id"]
    masked = {"X-A": MASK}
    for change in ({"url": "http://b/"}, {"connect_to": "b"}, {"proxy": "http://b:3128"}):
        elsewhere = {"spec": {**SPEC, **change, "headers": masked}}
        [error] = is_problem(await client.patch(f"/api/targets/{target}", json=elsewhere), 422)["errors"]
        assert error["at"] == "body/spec/http/headers/X-A"
    there = {"spec": {**SPEC, "url": "http://a/other", "headers": masked}}
    assert (await client.patch(f"/api/targets/{target}", json=there)).status_code == 200
    assert headers_of(services, target) == {"X-A": "b"}


CREDENTIALS = {"username": "probe", "password": "a-password"}


async def test_credentials_are_masked_kept_and_not_sent_elsewhere(
    client: httpx.AsyncClient, services: Database
) -> None:
    body = await added(client, spec={"kind": "http", "url": "http://a/", **CREDENTIALS})
    assert (body["spec"]["username"], body["spec"]["password"]) == ("probe", MASK)
    target = f"/api/targets/{body['id']}"
    spec = {**body["spec"], "expected_status": ["2xx"]}
    assert (await client.patch(target, json={"spec": spec})).json()["spec"]["expected_status"] == ["2xx"]
    stored = services.targets[UUID(body["id"])].spec
    assert isinstance(stored, HttpSpec)
    assert stored.password == "a-password"
    for change in ({"url": "http://b/"}, {"connect_to": "b"}, {"proxy": "http://b:3128"}):
        [error] = is_problem(await client.patch(target, json={"spec": {**spec, **change}}), 422)["errors"]
        assert error["at"] == "body/spec/http/password"
    new = {"name": "B", "spec": {"kind": "http", "url": "http://a/", "bearer_token": MASK}}
    [error] = is_problem(await client.post("/api/targets", json=new), 422)["errors"]
    assert error["at"] == "body/spec/http/bearer_token"


async def test_a_large_body_to_send_is_refused_at_its_field(client: httpx.AsyncClient) -> None:
    target = (await added(client))["id"]
    spec = {"kind": "http", "url": "http://a/", "method": "POST", "body": "a" * 1024 * 1024}
    for answer in (
        await client.post("/api/targets", json={"name": "B", "spec": spec}),
        await client.put(f"/api/targets/{target}", json={"name": "B", "spec": spec}),
        await client.patch(f"/api/targets/{target}", json={"spec": spec}),
        await client.put("/api/targets", json=[{"name": "B", "spec": spec}]),
    ):
        [error] = is_problem(answer, 422)["errors"]
        assert error["at"].endswith("spec/http/body")
        assert "at most 16384 characters" in error["message"]


async def test_settings_that_exclude_each_other_are_refused_at_a_field(client: httpx.AsyncClient) -> None:
    spec = {"kind": "http", "url": "http://a/", "bearer_token": "a", **CREDENTIALS, "max_redirects": 1}
    answer = await client.post("/api/targets", json={"name": "B", "spec": {**spec, "follow_redirects": False}})
    assert is_problem(answer, 422)["errors"] == [
        {"at": "body/spec/http/bearer_token", "message": "bearer_token and username exclude each other"},
        {
            "at": "body/spec/http/max_redirects",
            "message": "max_redirects and follow_redirects: false exclude each other",
        },
    ]


def test_verification_that_is_off_is_a_caution_of_the_target() -> None:
    now = datetime.now(UTC)
    for verify, count in ((True, 0), (False, 1)):
        spec = HttpSpec(url="https://a/", verify_tls=verify)
        target = Target.of(TargetSettings(name="A", spec=spec))
        shown = TargetView.combine(target, Standing(since=now), None, now).model_dump(mode="json")
        assert len(shown["cautions"]) == count


async def test_stored_metadata_of_grpc_is_kept_and_not_sent_elsewhere(
    client: httpx.AsyncClient, services: Database
) -> None:
    spec = {"kind": "grpc", "host": "a", "port": 1, "headers": {"X-Key": "hidden"}}
    body = await added(client, spec=spec)
    assert body["spec"]["headers"] == {"x-key": MASK}
    path, masked = f"/api/targets/{body['id']}", {**spec, "headers": {"x-key": MASK}}
    for change in ({"port": 2}, {"host": "b"}, {"tls": False}, {"authority": "b"}):
        [error] = is_problem(await client.patch(path, json={"spec": masked | change}), 422)["errors"]
        assert error["at"] == "body/spec/grpc/headers/x-key"
    of_http = {**SPEC, "headers": {"X-Key": MASK}}
    [error] = is_problem(await client.patch(path, json={"spec": of_http}), 422)["errors"]
    assert error["at"] == "body/spec/http/headers/X-Key"
    assert (await client.patch(path, json={"spec": masked | {"service": "c"}})).status_code == 200
    assert headers_of(services, body["id"]) == {"x-key": "hidden"}
