"""Values in the queries of URLs: masked for everyone who reads, and kept if they are sent back masked."""

from typing import Any
from unittest.mock import Mock
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from netmon.access import TokenAuth
from netmon.api import targets as api
from netmon.cache import SharedCache
from netmon.models import Job, Plan, Probe, Standing
from netmon.secret_values import MASK, has_masks, masked_url, unmasked_url
from netmon.settings import load
from netmon.specs import HttpSpec
from netmon.supervision import describe
from netmon.target_lists import TargetFilter, _condition
from netmon.target_models import Target, TargetSettings, TargetView
from netmon.target_reader import TargetReader
from netmon.url_targets import parse_target
from tests.unit.app.fake_api import Database, added, is_problem
from tests.unit.app.test_app_cache import FakeRedis

pytestmark = pytest.mark.anyio

SECRET = "Hidden5ecret"
URL = f"https://a/status?token={SECRET}&plain&region=eu"
SHOWN = f"https://a/status?token={MASK}&{MASK}&region={MASK}"
SPEC = {"kind": "http", "url": URL, "expected_url": f"https://a/end?key={SECRET}"}

names = st.sampled_from(["a", "b", "token", ""])
values = st.text("xyz0=%;+", min_size=1, max_size=6)
queries = st.lists(st.one_of(st.builds("{}={}".format, names, values), values.filter(lambda text: "=" not in text)))
urls = queries.map(lambda parts: parse_target(f"https://a/p?{'&'.join(parts)}").url)


@given(urls)
def test_no_value_is_left_and_a_masked_url_that_is_sent_back_is_restored(url: str) -> None:
    shown = masked_url(url)
    assert not set("xyz0;+%") & set(shown.partition("?")[2])
    assert masked_url(shown) == shown
    sent = HttpSpec(url=shown).url
    assert sent == shown, "as it is read from the cache, too"
    assert unmasked_url(sent, url) == url
    assert has_masks(sent) == (shown != url)


def test_a_long_query_is_one_mask_and_restored() -> None:
    url = HttpSpec(url=f"https://a/?{'&'.join(f'p{number}=1' for number in range(280))}").url
    assert len(url) < 2048
    spec = HttpSpec(url=url)
    assert spec.for_readers().url == f"https://a/?{MASK}"
    assert unmasked_url(spec.for_readers().url, url) == url
    assert HttpSpec.model_validate(spec.for_readers().model_dump()) == spec.for_readers()


@pytest.mark.parametrize(
    ("sent", "stored", "restored"),
    [
        (f"https://a/new?b={MASK}&c=1", "https://a/?a=1&b=2", "https://a/new?b=2&c=1"),
        (f"https://a/?a={MASK}&a=9", "https://a/?a=1&a=2", "https://a/?a=1&a=9"),
        (f"https://a/?a=9&a={MASK}", "https://a/?a=1&a=2", "https://a/?a=9&a=2"),
        (f"https://a/?{MASK}", "https://a/?a=1&key", "https://a/?key"),
        (f"https://a/?b={MASK}", "https://a/?a=1", None),
        (f"https://a/?a={MASK}", "https://a/", None),
    ],
)
def test_masked_values_are_matched_by_name_and_order(sent: str, stored: str, restored: str | None) -> None:
    assert unmasked_url(HttpSpec(url=sent).url, stored) == restored


def test_user_and_password_are_masked_and_other_addresses_stay() -> None:
    assert masked_url("https://user:pass@a/p?b=c") == f"https://a/p?b={MASK}"
    assert masked_url("grpc://a:1/what?") == "grpc://a:1/what?"


def test_a_probe_has_no_values_of_the_query_but_its_job_has_the_spec() -> None:
    job = Job.of(Plan(spec=HttpSpec(url=URL)), "target")
    assert SECRET not in job.probe.encode().decode()
    assert job.url == SHOWN
    received = Job.decode(job.encode())
    assert isinstance(received.plan.spec, HttpSpec)
    assert received.plan.spec.url == URL


def test_a_probe_of_an_earlier_release_is_masked_when_it_is_read() -> None:
    former = Job.of(Plan(spec=HttpSpec(url="https://a/")), "target").probe.model_dump(mode="json")
    assert Probe.model_validate({**former, "url": URL}).url == SHOWN
    without_plan = Job.model_validate({**former, "url": URL})
    assert isinstance(without_plan.plan.spec, HttpSpec)
    assert without_plan.plan.spec.url == URL


async def test_without_a_token_a_target_has_no_values_of_queries(client: httpx.AsyncClient, services: Database) -> None:
    target = (await added(client, spec=SPEC))["id"]
    path = f"/api/targets/{target}"
    assert (await client.get(path)).json()["spec"]["url"] == URL
    for headers in ({"Authorization": ""}, {"Authorization": "Bearer another"}, {"Authorization": "Basic YTpi"}):
        answer = await client.get(path, headers=headers)
        assert SECRET not in answer.text, headers
        assert answer.json()["spec"]["url"] == SHOWN
    assert services.cached
    assert SECRET not in str(services.cached)


async def test_a_masked_query_is_kept_and_not_sent_elsewhere(client: httpx.AsyncClient, services: Database) -> None:
    target = (await added(client, spec=SPEC))["id"]
    path = f"/api/targets/{target}"
    shown: dict[str, Any] = (await client.get(path, headers={"Authorization": ""})).json()
    assert (await client.put(path, json=shown)).status_code == 200
    assert services.targets[UUID(target)].spec == HttpSpec.model_validate(SPEC)
    moved = {**shown["spec"], "url": shown["spec"]["url"].replace("status", "other")}
    assert (await client.patch(path, json={"spec": moved})).status_code == 200
    stored = services.targets[UUID(target)].spec
    assert isinstance(stored, HttpSpec)
    assert stored.url == URL.replace("status", "other")
    for change, at in (
        ({"url": shown["spec"]["url"].replace("//a", "//b"), "expected_url": None}, "url"),
        ({"connect_to": "b", "expected_url": None}, "url"),
        ({"expected_url": f"https://a/end?other={MASK}"}, "expected_url"),
    ):
        [error] = is_problem(await client.patch(path, json={"spec": {**shown["spec"], **change}}), 422)["errors"]
        assert error["at"] == f"body/spec/http/{at}"
        assert "masked" in error["message"]


async def test_a_list_that_everyone_reads_can_be_stored(client: httpx.AsyncClient, services: Database) -> None:
    target = (await added(client, spec=SPEC))["id"]
    shown = (await client.get(f"/api/targets/{target}", headers={"Authorization": ""})).json()
    answer = await client.put("/api/targets", json=[shown])
    assert answer.json()["unchanged"] == 1, answer.text
    assert services.targets[UUID(target)].spec == HttpSpec.model_validate(SPEC)


async def test_cached_lists_have_masks_and_those_with_the_token_do_not(environ: dict[str, str]) -> None:
    target = Target.of(TargetSettings(name="A", spec=HttpSpec.model_validate(SPEC)))
    now = target.created_at

    async def by_name(*_: object, whole: bool = False) -> list[TargetView]:
        return [TargetView.combine(target, Standing(since=now), None, now, whole=whole)]

    cache: Any = SharedCache("redis://redis")
    cache._redis = redis = FakeRedis()
    reader: Any = TargetReader(Mock(), Mock(), cache)
    reader._lists = Mock(by_name=by_name)
    unused: Any = Mock()
    app = FastAPI()
    app.include_router(api.router(reader, unused, unused, TokenAuth(load(environ, api=True)), unused))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app") as client:
        for _ in range(2):
            [shown] = (await client.get("/api/targets")).json()
            assert shown["spec"]["url"] == SHOWN
        assert SECRET not in str(redis.values)
        token = {"Authorization": f"Bearer {environ['API_TOKEN']}"}
        for query in ("", "?limit=1"):
            [whole] = (await client.get(f"/api/targets{query}", headers=token)).json()
            assert whole["spec"]["url"] == URL
        target = Target.of(TargetSettings(name="A", spec=HttpSpec(url="https://a/")))
        await reader.added()
        await client.get("/api/targets")
        assert (await client.get("/api/targets", headers=token)).headers["x-cache"] == "hit", "it has nothing to show"


def test_a_search_reads_no_queries() -> None:
    condition = _condition(TargetFilter(text=SECRET))
    assert "spec ->> 'url'" in condition
    assert "split_part(spec ->> 'url', '?', 1)" in condition


def test_a_log_line_about_invalid_input_has_none_of_it() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(dict[str, int]).validate_python({"url": URL})
    assert "input_value" in str(caught.value)
    line = describe(caught.value)
    assert "token" not in line
    assert line.startswith("ValidationError: url: Input should be a valid integer")
