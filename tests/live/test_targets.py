"""Targets over the HTTP API: their life cycle, and the cache behind the responses."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from uuid import uuid4

import pytest
import requests

from tests.live import pipeline
from tests.live.stack import Stack, until

TARGET = {"kind": "http", "url": "http://app:3000/api/health/live", "headers": {"X-Secret": "do-not-tell"}}
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


class Api:
    """The API of a stack, with its token."""

    def __init__(self, stack: Stack) -> None:
        self.url = stack.url("/api")
        self.token = (stack.root / "secrets" / "api_token.txt").read_text().strip()
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {self.token}"

    def request(self, method: str, path: str, status: int, body: Any = None) -> requests.Response:
        """Send a request; the response must have this status."""
        response = self._session.request(method, self.url + path, json=body, timeout=15)
        assert response.status_code == status, f"{method} {path}: {response.status_code} {response.text}"
        if status >= 400:
            assert response.headers["Content-Type"] == "application/problem+json"
        return response

    def get(self, path: str) -> Any:
        """The body of a response."""
        return self.request("GET", path, 200).json()

    def names(self, **query: str | int) -> list[str]:
        """The names of all listed targets, following the links from page to page."""
        names, url = list[str](), f"{self.url}/targets"
        while url:
            response = self._session.get(url, params=query, timeout=15)
            assert response.status_code == 200, response.text
            names += [each["name"] for each in response.json()]
            url, query = urljoin(self.url, response.links.get("next", {}).get("url", "")), {}
            url = "" if url == self.url else url
        return names

    def cache_state(self, path: str) -> str:
        """The X-Cache header of a response."""
        return self.request("GET", path, 200).headers["X-Cache"]

    def add(self, **settings: Any) -> str:
        """Add a target and return its path."""
        body = {"name": f"target-{uuid4()}", "spec": TARGET, "interval_seconds": 5} | settings
        response = self.request("POST", "/targets", 201, body)
        return response.headers["Location"].removeprefix("/api")

    def until_state(self, target: str, state: str) -> dict[str, Any]:
        """Wait until the target is in this state, and return it."""

        def look() -> dict[str, Any] | None:
            body: dict[str, Any] = self.get(target)
            return body if body["standing"]["state"] == state else None

        return until(look, 30, f"{target} to be {state}")


@pytest.fixture(scope="module")
def api(stack: Stack) -> Api:
    return Api(stack)


@pytest.fixture
def target(api: Api) -> Iterator[str]:
    """A target that is up and has results."""
    path = api.add()
    api.until_state(path, "up")
    yield path
    requests.delete(api.url + path, headers={"Authorization": f"Bearer {api.token}"}, timeout=15)


def test_a_target_from_creation_to_deletion(api: Api, stack: Stack) -> None:
    target = api.add()
    body = api.until_state(target, "up")
    assert body["latest"]["status"] == "succeeded"
    assert "do-not-tell" not in api.request("GET", "/targets", 200).text + api.request("GET", target, 200).text

    changed = api.request(
        "PATCH", target, 200, {"spec": {"kind": "tcp", "host": "app", "port": 1}, "failures": 1}
    ).json()
    assert changed["interval_seconds"] == 5
    assert api.get(target)["standing"]["state"] in ("unknown", "down"), "the state must be reset with the address"
    api.until_state(target, "down")
    [incident] = api.get(f"/incidents?target={body['id']}")
    assert (incident["state"], incident["ended_at"]) == ("down", None)

    api.request("PATCH", target, 200, {"enabled": False})
    assert api.get(target)["standing"]["state"] == "unknown"
    [incident] = api.get(f"/incidents?target={body['id']}")
    assert incident["ended_at"], "the incident must end with the pause"

    pipeline.execute(
        stack,
        f"UPDATE standings SET stored_at = now() - interval '1 hour' WHERE target = '{body['id']}'",  # noqa: S608
    )
    for enabled in (False, True):
        api.request("PATCH", target, 200, {"enabled": enabled})
        stale = api.request("GET", "/targets?state=stale", 200).text
        assert body["id"] not in stale, "neither a paused nor a resumed target has overdue results"
    api.until_state(target, "down")
    api.request("DELETE", target, 204)

    def published() -> bool:
        changes = [each for each in pipeline.events(stack, "monitor.state") if each["target"] == body["id"]]
        return [(each["state"], each["cause"]) for each in changes] == [
            ("up", None), ("unknown", "edited"), ("down", "connect"), ("unknown", "paused"), ("down", "connect"),
            ("unknown", "deleted"),
        ]  # fmt: skip

    until(published, 15, "every change of state to be published")
    api.request("GET", target, 404)
    api.request("GET", f"{target}/statistics", 404)
    assert body["id"] not in api.request("GET", "/targets", 200).text


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ({"kind": "ping", "host": "db"}, None),
        ({"kind": "tcp", "host": "db", "port": 5432}, None),
        ({"kind": "tcp", "host": "db.", "port": 5432}, None),
        ({"kind": "dns", "name": "db", "resolver": "127.0.0.11"}, None),
        ({"kind": "dns", "name": "db", "resolver": "127.0.0.11:1"}, "dns"),
        ({"kind": "tcp", "host": "no-such-service", "port": 80}, "dns"),
        ({"kind": "ping", "host": "no-such-service"}, "dns"),
        ({"kind": "ping", "host": "2001:db8::1"}, "no_ipv6"),
    ],
)
def test_names_and_pings_in_the_container(api: Api, spec: dict[str, Any], error: str | None) -> None:
    """The resolver of the engine knows the services, and the group of the worker may send pings."""
    path = api.add(spec=spec, failures=1, window=1)
    try:
        body = api.until_state(path, "down" if error else "up")
        assert body["latest"]["error"] == error
    finally:
        api.request("DELETE", path, 204)


@pytest.mark.parametrize("service", ["app", "worker"])
def test_names_are_complete_in_the_containers(stack: Stack, service: str) -> None:
    lines = stack.exec(service, "cat", "/etc/resolv.conf").splitlines()
    assert not [line for line in lines if line.startswith(("search", "domain")) and line.split()[1:] != ["."]]
    assert "options ndots:0" in lines


def test_targets_are_listed_page_by_page_and_found_by_state_name_and_address(api: Api) -> None:
    mark = uuid4().hex
    named = [f"{mark} {name}" for name in ("b", "ä", "A", "c", "B", "% _ \\", "\u200b")]
    added = [api.add(name=name, enabled=False) for name in named]
    spec = {"kind": "tcp", "host": f"{mark}.example.org", "port": 1}
    added.append(api.add(name=f"{mark} port", spec=spec, tags=["mail", "eu"]))
    try:
        every = api.names(q=mark)
        assert sorted(every) == sorted([*named, f"{mark} port"])
        lower = [name.lower() for name in every if name.isascii()]
        assert lower.index(f"{mark} a") < lower.index(f"{mark} b") < lower.index(f"{mark} c")
        for limit in (1, 3, len(every)):
            assert api.names(q=mark, limit=limit) == every, limit
        assert api.names(q=f"{mark.upper()} A") == [f"{mark} A"]
        assert api.names(q=f"{mark} % _") == [f"{mark} % _ \\"], "no character is a wildcard"
        assert api.names(q=f"{mark}.example") == [f"{mark} port"]
        assert set(api.names(q=mark, state="paused")) == set(named)
        assert api.names(q=mark, state="up") == []
        assert api.names(q=mark, tag="eu") == [f"{mark} port"]
        assert api.names(q=mark, tag="e") == []
        assert api.names(q="do-not-tell") == [], "the values of headers are not searched"
        first = api.request("GET", f"/targets?q={mark}&limit=2", 200)
        for path in added[:3]:
            api.request("DELETE", path, 204)
        rest = requests.get(urljoin(api.url, first.links["next"]["url"]), timeout=15).json()
        deleted = set(named[:3])
        assert [each["name"] for each in rest] == [name for name in every[2:] if name not in deleted][:2]
    finally:
        for path in added[3:]:
            api.request("DELETE", path, 204)


def test_values_of_queries_are_shown_with_the_token_only(api: Api, stack: Stack) -> None:
    """Neither to readers, nor in the results, events, logs and metrics of the probes, which use them."""
    mark = uuid4().hex
    target = api.add(spec={"kind": "http", "url": f"http://app:3000/api/health/live?key={mark}"})
    try:
        body = api.until_state(target, "up")
        assert body["spec"]["url"].endswith(f"?key={mark}")
        for path in (target, f"{target}/latest", "/targets?limit=200", f"/probes/{body['latest']['id']}"):
            answer = requests.get(api.url + path, timeout=15)
            assert answer.status_code == 200, path
            assert mark not in answer.text, path
        shown = requests.get(api.url + target, timeout=15).json()
        assert shown["spec"]["url"].endswith("?key=•••")
        before = api.get(target)["updated_at"]
        api.request("PUT", target, 200, shown)
        assert api.get(target)["updated_at"] == before, "what everyone reads can be sent back"
        assert api.names(q=mark) == []
        for page in ("/", f"/targets/{body['id']}", f"/targets/{body['id']}/edit"):
            assert mark not in requests.get(stack.url(page), timeout=15).text, page
        events = [each for each in pipeline.events(stack, "probe.results") if each["target"] == body["id"]]
        assert events
        assert mark not in str(events)
        assert mark not in stack.compose("logs", "app", "worker")
    finally:
        api.request("DELETE", target, 204)


def test_the_public_status_has_chosen_targets_only(api: Api, stack: Stack) -> None:
    mark = uuid4().hex
    closed = {"kind": "tcp", "host": "app", "port": 1}
    target = api.add(name=f"{mark} shown", spec=closed, failures=1, window=1, public=True)
    hidden = api.add(name=f"{mark} hidden", spec=closed, failures=1, window=1)
    try:
        for each in (target, hidden):
            api.until_state(each, "down")

        def look() -> Any:
            answer = requests.get(f"{api.url}/status", timeout=15)
            found = [each for each in answer.json()["targets"] if each["name"].startswith(mark)]
            return answer if [each["state"] for each in found] == ["down"] else None

        answer = until(look, 10, "the public status to show one target that is down")
        incidents = [each for each in answer.json()["incidents"] if each["name"].startswith(mark)]
        assert [(each["name"], each["state"], each["ended_at"]) for each in incidents] == [
            (f"{mark} shown", "down", None)
        ]
        page = requests.get(stack.url("/status"), timeout=15).text
        assert f"{mark} shown" in page
        for text in (f"{mark} hidden", "tcp://app:1", "refused"):
            assert text not in answer.text, text
            assert text not in page, text
        api.request("PATCH", target, 200, {"public": False})
        assert mark not in requests.get(f"{api.url}/status", timeout=15).text, "at once"
    finally:
        for each in (target, hidden):
            api.request("DELETE", each, 204)


def test_a_target_is_probed_on_demand(api: Api, stack: Stack, target: str) -> None:
    accepted = api.request("POST", f"{target}/probes", 202).json()
    result = stack.result(accepted["id"])
    assert (result["status"], result["target"]) == ("succeeded", accepted["target"])


def test_the_phases_of_a_probe_are_part_of_its_result(api: Api, target: str) -> None:
    latest = api.until_state(target, "up")["latest"]
    assert all(latest[f"{phase}_ms"] > 0 for phase in ("lookup", "connect", "first_byte"))
    assert latest["tls_ms"] is None


def test_a_target_is_probed_at_another_host_under_its_name(api: Api) -> None:
    spec = {"kind": "http", "url": "http://shop.invalid:3000/api/health/live", "connect_to": "app"}
    target = api.add(spec=spec)
    assert api.until_state(target, "up")["spec"]["connect_to"] == "app"
    api.request("DELETE", target, 204)


RESPONSE_CHECKS: tuple[tuple[dict[str, Any], str | None], ...] = (
    ({"expected_status": ["2xx"], "expected_json": ['$.status == "alive"'], "expected_protocol": "HTTP/1.1"}, None),
    ({"expected_headers": ["Content-Type contains json"], "body_matches": "al[a-z]+e", "body_excludes": "dead"}, None),
    ({"expected_json": ['$.status == "dead"']}, '$.status is "alive", expected "dead"'),
    ({"expected_headers": ["X-None"]}, "the header X-None is missing, expected any value"),
)


@pytest.mark.parametrize(("checks", "sentence"), RESPONSE_CHECKS, ids=str)
def test_the_checks_of_a_target_decide_its_state(api: Api, checks: dict[str, Any], sentence: str | None) -> None:
    target = api.add(spec={**TARGET, **checks}, failures=1, window=1)
    latest = api.until_state(target, "down" if sentence else "up")["latest"]
    assert latest["detail"] == sentence
    api.request("DELETE", target, 204)


def test_statistics_and_series_of_a_target(api: Api, target: str) -> None:
    statistics = api.get(f"{target}/statistics?window=1h")
    assert statistics["results"] >= 1
    assert statistics["uptime_percent"] == 100
    assert 0 < statistics["p50_ms"] <= statistics["p99_ms"]
    for span in ("1h", "6h", "24h", "7d", "30d"):
        series = api.get(f"{target}/series?span={span}")
        assert sum(series["results"]) >= 1, span
        assert len({len(series[name]) for name in ("at", "p50_ms", "p95_ms", "failed", "results")}) == 1


def test_an_invalid_request_is_a_problem(api: Api, target: str) -> None:
    name = api.get(target)["name"]
    api.request("POST", "/targets", 409, {"name": name, "spec": TARGET})
    api.request("POST", "/targets", 422, {"name": "x", "spec": TARGET | {"headers": {"X-New": "•••"}}})
    api.request("PATCH", target, 422, {"failures": 10})
    api.request("PUT", f"/targets/{uuid4()}", 404, {"name": "x", "spec": TARGET})
    assert requests.delete(api.url + target, timeout=15).status_code == 401


def test_a_hit_needs_no_database(api: Api, stack: Stack, target: str) -> None:
    paths = ["/targets", target, f"{target}/statistics", f"{target}/latest"]
    for path in paths:
        until(lambda path=path: api.cache_state(path) == "hit", 5, f"{path} to be in the cache")  # type: ignore[misc]
    with paused(stack, "db"):
        for path in paths:
            began = time.monotonic()
            assert api.cache_state(path) == "hit", path
            assert time.monotonic() - began < 1, path


def test_a_target_without_results_is_cached(api: Api) -> None:
    target = api.add(enabled=False)
    assert [api.cache_state(target) for _ in range(2)] == ["miss", "hit"]
    api.request("DELETE", target, 204)


def test_a_read_returns_the_last_write(api: Api, target: str) -> None:
    for number in range(20):
        api.request("PATCH", target, 200, {"name": f"{target}-{number}"})
        assert api.get(target)["name"] == f"{target}-{number}"


def test_the_api_works_without_redis(api: Api, stack: Stack, target: str) -> None:
    stack.control("stop", "redis")
    try:
        for path in ("/targets", target, f"{target}/statistics", f"{target}/latest"):
            assert api.cache_state(path) == "bypass", path
        api.request("PATCH", target, 200, {"retries": 1})
        assert api.get(target)["retries"] == 1
    finally:
        stack.control("start", "redis")
        stack.wait_until_recovered()
    assert api.get(target)["retries"] == 1


def test_responses_to_generated_requests_conform_to_the_openapi_document(api: Api, tmp_path: Path) -> None:
    """Requests of Schemathesis cause no server error and no undocumented response."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{api.url}/openapi.json"]
    options = ["--seed=1", "--max-examples=15", "--max-time=30", "--phases=examples,coverage,fuzzing", "--no-shrink"]
    done = subprocess.run(
        [*command, *options, f"--checks={CHECKS}", f"--header=Authorization: Bearer {api.token}", "--no-color"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    try:
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    finally:
        while listed := api.get("/targets"):
            for each in listed:
                api.request("DELETE", f"/targets/{each['id']}", 204)


@contextmanager
def paused(stack: Stack, service: str) -> Iterator[None]:
    """Pause a service while the block runs."""
    stack.control("pause", service)
    try:
        yield
    finally:
        stack.control("unpause", service)
