"""Bulk changes of targets over HTTP: all or nothing, with the index and the field of each mistake."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from netmon import web
from netmon.api.bulk_plan import field_changes, plan_list
from netmon.api.targets import TargetBody
from netmon.models import Probe, Standing
from netmon.secret_values import MASK
from netmon.specs import DnsSpec, GrpcSpec, HeartbeatSpec, HttpSpec, PingSpec, TcpSpec, TlsSpec
from netmon.target_models import READ_ONLY_FIELDS, Target, TargetSettings, TargetView
from tests.unit.app.fake_api import JSON, Database, is_problem
from tests.unit.app.properties import PROPERTY

pytestmark = pytest.mark.anyio

BODIES = TypeAdapter(list[TargetBody])
PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))

names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
header_names = st.text(st.sampled_from("abcXYZ-_09"), min_size=1, max_size=8).map(lambda name: f"X-{name}")
header_values = st.one_of(
    PRINTABLE.filter(lambda value: not value.startswith("secret:") and value != MASK), st.just("secret:a-file")
)
headers = st.dictionaries(header_names, header_values, max_size=3).filter(
    lambda found: len({name.lower() for name in found}) == len(found)
)
specs = st.one_of(
    st.builds(
        HttpSpec,
        url=st.sampled_from(["https://example.org/", "http://example.org:8080/a?token=b", "https://[2001:db8::1]/"]),
        headers=headers,
        expected_status=st.lists(st.integers(100, 599), max_size=3),
        body_contains=st.none() | st.sampled_from(["ok", "ä\n", '"healthy"']),
        certificate_days=st.integers(0, 365),
        follow_redirects=st.booleans(),
        connect_to=st.none() | st.sampled_from(["192.0.2.7:8443", "[2001:db8::1]:443", "other.example"]),
    ),
    st.builds(HttpSpec, url=st.just("http://example.org/"), proxy=st.just("http://proxy.example.org:3128")),
    st.builds(TcpSpec, host=st.sampled_from(["example.org", "192.0.2.1", "::1"]), port=st.integers(1, 65535)),
    st.builds(
        TcpSpec,
        host=st.just("mail.example.org"),
        port=st.just(587),
        starttls=st.sampled_from(["smtp", "imap", "pop3"]),
        server_name=st.none() | st.just("example.org"),
        send=st.none() | st.just(r"QUIT\r\n"),
        expect=st.none() | st.just(r"\x00 a"),
        certificate_days=st.integers(0, 365),
        certificate_fail_days=st.integers(0, 365),
    ),
    st.builds(
        TlsSpec,
        host=st.just("example.org"),
        server_name=st.none() | st.just("www.example.org"),
        minimum_version=st.sampled_from(["1.2", "1.3"]),
    ),
    st.builds(
        GrpcSpec,
        host=st.just("example.org"),
        port=st.integers(1, 65535),
        service=st.sampled_from(["", "shop.v1.Orders"]),
        tls=st.booleans(),
        authority=st.none() | st.just("orders.example.org:8443"),
        headers=st.just({}) | st.just({"x-key": "1"}),
    ),
    st.builds(
        PingSpec,
        host=st.just("example.org"),
        packets=st.integers(2, 20),
        maximum_loss_percent=st.floats(0, 99),
        maximum_jitter_ms=st.none() | st.floats(1, 60_000),
    ),
    st.builds(
        DnsSpec,
        name=st.just("example.org"),
        minimum_ttl=st.integers(0, 604_800),
        dnssec=st.sampled_from(["ignored", "required"]),
    ),
    st.builds(
        DnsSpec,
        name=st.just("example.org"),
        record=st.just("MX"),
        expected=st.just(["10 mail.example.org."]),
        match=st.sampled_from(["contains", "equals"]),
        resolver=st.none() | st.sampled_from(["192.0.2.53", "[2001:db8::53]:5353"]),
    ),
    st.builds(PingSpec, host=st.just("example.org")),
    st.builds(HeartbeatSpec, grace_seconds=st.integers(0, 86_400)),
)


@st.composite
def settings(draw: st.DrawFn) -> TargetSettings:
    window = draw(st.integers(1, 10))
    return TargetSettings(
        name=draw(names),
        spec=draw(specs),
        interval_seconds=draw(st.integers(5, 86_400)),
        timeout_seconds=draw(st.floats(0.1, 60)),
        retries=draw(st.integers(0, 5)),
        slow_ms=draw(st.none() | st.floats(0.1, 60_000)),
        failures=draw(st.integers(1, window)),
        window=window,
        enabled=draw(st.booleans()),
        severity=draw(st.sampled_from(["critical", "warning", "none"])),
        tags=draw(st.lists(st.sampled_from(["a", "eu/west", "team:x", "ä.1"]), unique=True)),
    )


stored_targets = st.lists(settings(), max_size=4, unique_by=lambda each: each.name).map(
    lambda found: [Target.of(each) for each in found]
)


def shown(target: Target) -> TargetView:
    """A target as a response has it."""
    now = datetime.now(UTC)
    probe = Probe(id=uuid4(), url=target.spec.address, target=str(target.id), requested_at=now)
    return TargetView.combine(target, Standing(since=now, state="down"), probe, now)


def permits(_spec: object) -> None:
    """A guard that refuses nothing."""


@given(stored_targets, st.booleans(), st.booleans())
@PROPERTY
def test_a_list_of_responses_that_is_sent_back_changes_nothing(
    stored: list[Target], prune: bool, with_ids: bool
) -> None:
    answers = json.loads(TypeAdapter(list[TargetView]).dump_json([shown(target) for target in stored]))
    for answer in answers:
        if not with_ids:
            del answer["id"]
    change = plan_list(BODIES.validate_json(json.dumps(answers)), stored, permits, prune=prune)
    assert (change.create, change.update, list(change.delete), change.unchanged) == ([], [], [], len(stored))


@given(stored_targets, settings())
@PROPERTY
def test_the_fields_of_a_change_are_those_that_differ(stored: list[Target], other: TargetSettings) -> None:
    for target in stored:
        assert field_changes(target, target) == []
        changes = field_changes(target, other)
        assert bool(changes) == (target.settings != other)
        values = [
            value
            for spec in (target.spec, other.spec)
            if isinstance(spec, HttpSpec | GrpcSpec)
            for value in spec.headers.values()
            if len(value) > 3 and not value.startswith("secret:")
        ]
        described = json.dumps([(each.before, each.after) for each in changes if each.field.startswith("spec.headers")])
        assert not [value for value in values if json.dumps(value)[1:-1] in described]


def target(name: str, **changed: Any) -> dict[str, Any]:
    headers = {"Authorization": "a-credential"}
    return {"name": name, "spec": {"kind": "http", "url": "https://a.example/", "headers": headers}, **changed}


async def put(client: httpx.AsyncClient, *targets: Any, query: str = "") -> dict[str, Any]:
    response = await client.put(f"/api/targets{query}", json=list(targets))
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def test_a_list_creates_updates_and_prunes(client: httpx.AsyncClient, services: Database) -> None:
    made = await put(client, target("a"), target("b"), target("c"))
    assert [each["name"] for each in made["created"]] == ["a", "b", "c"]
    assert {each["id"] for each in made["created"]} == {str(each) for each in services.targets}

    changed = [target("a"), target("b", interval_seconds=30), target("d")]
    preview = await put(client, *changed, query="?dry_run=true")
    assert len(services.targets) == 3
    assert preview["dry_run"]
    assert preview["created"] == [{"id": None, "name": "d"}]
    assert [each["changes"] for each in preview["updated"]] == [
        [{"field": "interval_seconds", "before": 60, "after": 30}]
    ]
    assert ([each["name"] for each in preview["missing"]], preview["deleted"], preview["unchanged"]) == (["c"], [], 1)

    kept = await put(client, *changed)
    assert sorted(each.name for each in services.targets.values()) == ["a", "b", "c", "d"]
    assert [each["name"] for each in kept["missing"]] == ["c"]
    pruned = await put(client, *changed, query="?prune=true")
    assert [each["name"] for each in pruned["deleted"]] == ["c"]
    assert (pruned["created"], pruned["updated"], pruned["missing"], pruned["unchanged"]) == ([], [], [], 3)
    deleted = pruned["deleted"][0]["id"]
    assert f"3:target:{deleted}" in services.invalidated


async def test_a_masked_header_keeps_its_value_and_is_masked_in_changes(
    client: httpx.AsyncClient, services: Database
) -> None:
    await put(client, target("a"))
    masked = target("a")
    masked["spec"]["headers"] = {"Authorization": MASK}
    assert (await put(client, masked))["unchanged"] == 1
    masked["spec"]["headers"] = {"Authorization": "another"}
    response = await put(client, masked)
    assert response["updated"][0]["changes"] == [{"field": "spec.headers.Authorization", "before": MASK, "after": MASK}]
    masked["spec"] |= {"url": "https://other.example/", "headers": {"Authorization": MASK}}
    problem = is_problem(await client.put("/api/targets", json=[target("b"), masked]), 422)
    assert [each["at"] for each in problem["errors"]] == ["body/1/spec/http/headers/Authorization"]
    assert len(services.targets) == 1


ROUTES: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
    ({"follow_redirects": False}, {"follow_redirects": True}),
    ({"connect_to": "93.184.216.34:8443"}, {"connect_to": None}),
    ({"proxy": "http://proxy.example:3128"}, {"proxy": None}),
    ({"kind": "dns", "name": "a.example", "expected": ["192.0.2.1"], "match": "equals"}, {"match": "contains"}),
    ({"kind": "dns", "name": "a.example", "resolver": "9.9.9.9"}, {"resolver": None}),
)


@pytest.mark.parametrize(("given", "default"), ROUTES, ids=lambda each: next(reversed(each)))
async def test_settings_that_are_stored_only_if_given_are_created_compared_and_shown(
    client: httpx.AsyncClient, services: Database, given: dict[str, Any], default: dict[str, Any]
) -> None:
    spec = {"kind": "http", "url": "https://a.example/"} | given if "kind" not in given else given
    wanted = {"name": "a", "spec": spec}
    created = await client.post("/api/targets/bulk", json={"create": [wanted]})
    assert created.status_code == 200, created.text
    [(name, value)] = [(name, spec[name]) for name in default]
    assert [getattr(each.spec, name) for each in services.targets.values()] == [value]
    assert (await put(client, wanted))["unchanged"] == 1
    configuration = await client.put("/api/configuration", json={"targets": [wanted]})
    assert configuration.json()["unchanged"] == 1
    without = {"name": "a", "spec": {key: each for key, each in spec.items() if key != name}}
    [updated] = (await put(client, without))["updated"]
    assert updated["changes"] == [{"field": f"spec.{name}", "before": value, "after": default[name]}]


async def test_a_target_is_renamed_by_its_id(client: httpx.AsyncClient, services: Database) -> None:
    made = await put(client, target("a"), target("b"))
    a, b = (each["id"] for each in made["created"])
    swapped = await put(client, target("b", id=a), target("a", id=b), query="?prune=true")
    assert [(each["name"], each["changes"][0]["after"]) for each in swapped["updated"]] == [("a", "b"), ("b", "a")]
    assert {str(each.id): each.name for each in services.targets.values()} == {a: "b", b: "a"}


async def test_a_target_cannot_get_the_name_of_another_one_that_is_kept(
    client: httpx.AsyncClient, services: Database
) -> None:
    made = await put(client, target("a"), target("b"))
    renamed = target("b", id=made["created"][0]["id"])
    problem = is_problem(await client.put("/api/targets", json=[renamed]), 422)
    assert problem["errors"] == [{"at": "body/0/name", "message": "another target has this name"}]
    assert sorted(each.name for each in services.targets.values()) == ["a", "b"]
    assert len((await put(client, renamed, query="?prune=true"))["deleted"]) == 1


MISTAKES: tuple[tuple[list[Any], str, str], ...] = (
    ([target("b", interval_seconds=1)], "body/0/interval_seconds", "greater than or equal to 5"),
    ([target("b"), target("c", unknown=1)], "body/1/unknown", "not permitted"),
    ([target("b"), target("b")], "body/0/name", "2 entries"),
    ([target("b", id=str(uuid4()))], "body/0/id", "no target with this id"),
    ([target("b", tags=["a\x00"])], "body/0/tags/0", "pattern"),
    ([target("b", failures=3, window=2)], "body/0", "must not exceed window"),
    ([target("b", spec={"kind": "tcp", "host": "10.0.0.1", "port": 1})], "body/0/spec", "not a public address"),
    (["b"], "body/0", "object"),
)


@pytest.mark.parametrize(("bodies", "at", "message"), MISTAKES, ids=[at for _, at, _ in MISTAKES])
async def test_a_mistake_in_a_list_changes_nothing(
    client: httpx.AsyncClient, services: Database, bodies: list[Any], at: str, message: str
) -> None:
    await put(client, target("a"))
    before = dict(services.targets)
    problem = is_problem(await client.put("/api/targets?prune=true", json=[target("new"), *bodies][1:]), 422)
    assert problem["errors"][0]["at"] == at
    assert message in problem["errors"][0]["message"]
    assert services.targets == before


async def test_a_body_that_is_no_list_is_refused(client: httpx.AsyncClient) -> None:
    for body in (b"", b"{}", b"[", b"\xff", b"null"):
        problem = is_problem(await client.put("/api/targets", content=body), 422)
        assert problem["errors"][0]["at"] == "body"


async def test_a_large_body_needs_a_token_and_has_a_limit(client: httpx.AsyncClient) -> None:
    large = json.dumps([target(f"target {number}") for number in range(1000)]).encode()
    assert len(large) > web.MAX_BODY
    assert (await client.put("/api/targets?dry_run=true", content=large)).status_code == 200
    is_problem(await client.post("/api/maintenance", content=large), 413)
    limit = web.LARGE_BODIES["PUT", "/api/targets"]
    is_problem(await client.put("/api/targets", content=b" " * (limit + 1)), 413)

    async def never_read() -> AsyncIterator[bytes]:
        yield b"["
        raise AssertionError("the body is read before the token is checked")

    del client.headers["authorization"]
    is_problem(await client.put("/api/targets", content=never_read()), 401)


async def test_targets_are_created_updated_and_deleted_by_id(client: httpx.AsyncClient, services: Database) -> None:
    made = await put(client, target("a"), target("b"), target("c"))
    a, b, c = (each["id"] for each in made["created"])
    body = {
        "create": [target("b")],
        "update": [{"id": a, "name": "c", "interval_seconds": 10}, {"id": b, "name": "a"}],
        "delete": [c],
    }
    done = (await client.post("/api/targets/bulk", json=body)).json()
    assert [len(done[name]) for name in ("created", "updated", "deleted", "missing")] == [1, 2, 1, 0]
    named = {each.name: str(each.id) for each in services.targets.values()}
    assert named == {"c": a, "a": b, "b": done["created"][0]["id"]}
    assert {str(each.id): each.interval_seconds for each in services.targets.values()}[a] == 10


BULK_MISTAKES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"update": [{"id": str(uuid4()), "name": "x"}]}, "body/update/0/id"),
    ({"update": [{"name": "x"}]}, "body/update/0/id"),
    ({"update": [{"id": "A", "failures": 9}]}, "body/update/0"),
    ({"delete": [str(uuid4())]}, "body/delete/0"),
    ({"delete": ["A", "A"]}, "body/delete/0"),
    ({"update": [{"id": "A", "enabled": False}], "delete": ["A"]}, "body/update/0/id"),
    ({"create": [target("a")]}, "body/create/0/name"),
    ({"update": [{"id": "A", "name": "b"}]}, "body/update/0/name"),
    ({"change": []}, "body/change"),
)


@pytest.mark.parametrize(("body", "at"), BULK_MISTAKES)
async def test_a_mistake_in_a_bulk_change_changes_nothing(
    client: httpx.AsyncClient, services: Database, body: dict[str, Any], at: str
) -> None:
    made = await put(client, target("a"), target("b"))
    before = dict(services.targets)
    sent = json.dumps(body).replace('"A"', json.dumps(made["created"][0]["id"]))
    problem = is_problem(await client.post("/api/targets/bulk", content=sent), 422)
    assert problem["errors"][0]["at"] == at
    assert services.targets == before


async def test_a_response_that_is_sent_back_to_its_target_changes_nothing(
    client: httpx.AsyncClient, services: Database
) -> None:
    await put(client, target("a"), target("b"))
    first, second = services.targets.values()
    for method in ("PUT", "PATCH"):
        body = shown(first).model_dump_json()
        response = await client.request(method, f"/api/targets/{first.id}", content=body, headers=JSON)
        assert response.status_code == 200, response.text
        assert services.targets[first.id] == first
        problem = is_problem(await client.request(method, f"/api/targets/{second.id}", content=body, headers=JSON), 422)
        assert problem["errors"] == [
            {"at": "body/id", "message": "this is the id of another target: send the request to that target, or omit "
             "the id"}
        ]  # fmt: skip


def test_every_field_of_a_response_that_is_no_setting_can_be_sent_back() -> None:
    assert {"id", "created_at", "updated_at", "standing", "latest", "stale"} <= READ_ONLY_FIELDS
    sent: dict[str, Any] = dict.fromkeys(READ_ONLY_FIELDS - {"id"}, "anything")
    assert TargetBody.model_validate({**target("a"), **sent}).name == "a"
    with pytest.raises(ValidationError, match="not permitted"):
        TargetBody.model_validate({**target("a"), "standings": 1})
