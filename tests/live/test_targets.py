"""Watched targets over HTTP: the whole of their life, and where what is told of them comes from."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
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

    def ask(self, method: str, path: str, status: int, body: Any = None) -> requests.Response:
        """The answer, which must have this status."""
        answer = self._session.request(method, self.url + path, json=body, timeout=15)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        if status >= 400:
            assert answer.headers["Content-Type"] == "application/problem+json"
        return answer

    def get(self, path: str) -> Any:
        """What is told."""
        return self.ask("GET", path, 200).json()

    def where(self, path: str) -> str:
        """Where it came from."""
        return self.ask("GET", path, 200).headers["X-Cache"]

    def add(self, **settings: Any) -> str:
        """Add a target and return its path."""
        body = {"name": f"target-{uuid4()}", "spec": TARGET, "interval_seconds": 5} | settings
        answer = self.ask("POST", "/targets", 201, body)
        return answer.headers["Location"].removeprefix("/api")

    def until_state(self, target: str, state: str) -> dict[str, Any]:
        """The target once it is in this state."""

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


def test_a_target_lives(api: Api, stack: Stack) -> None:
    target = api.add()
    body = api.until_state(target, "up")
    assert body["latest"]["status"] == "succeeded"
    assert "do-not-tell" not in api.ask("GET", "/targets", 200).text + api.ask("GET", target, 200).text

    changed = api.ask("PATCH", target, 200, {"spec": {"kind": "tcp", "host": "app", "port": 1}, "failures": 1}).json()
    assert changed["interval_seconds"] == 5
    assert api.get(target)["standing"]["state"] in ("unknown", "down"), "another target, of which nothing is known yet"
    api.until_state(target, "down")
    [incident] = api.get(f"/incidents?target={body['id']}")
    assert (incident["state"], incident["ended_at"]) == ("down", None)

    api.ask("PATCH", target, 200, {"enabled": False})
    assert api.get(target)["standing"]["state"] == "unknown"
    [incident] = api.get(f"/incidents?target={body['id']}")
    assert incident["ended_at"], "nobody knows any more"

    api.ask("PATCH", target, 200, {"enabled": True})
    api.until_state(target, "down")
    api.ask("DELETE", target, 204)

    def told() -> bool:
        mine = [each for each in pipeline.events(stack, "monitor.state") if each["target"] == body["id"]]
        return [(each["state"], each["cause"]) for each in mine] == [
            ("up", None), ("unknown", "edited"), ("down", "connect"), ("unknown", "paused"), ("down", "connect"),
            ("unknown", "deleted"),
        ]  # fmt: skip

    until(told, 15, "every change of state, whatever caused it, to be told")
    api.ask("GET", target, 404)
    api.ask("GET", f"{target}/statistics", 404)
    assert body["id"] not in api.ask("GET", "/targets", 200).text


def test_a_target_is_probed_at_once(api: Api, stack: Stack, target: str) -> None:
    accepted = api.ask("POST", f"{target}/probes", 202).json()
    result = stack.result(accepted["id"])
    assert (result["status"], result["target"]) == ("succeeded", accepted["target"])


def test_figures_of_a_target(api: Api, target: str) -> None:
    statistics = api.get(f"{target}/statistics?window=1h")
    assert statistics["results"] >= 1
    assert statistics["uptime_percent"] == 100
    assert 0 < statistics["p50_ms"] <= statistics["p99_ms"]
    for span in ("1h", "6h", "24h", "7d", "30d"):
        series = api.get(f"{target}/series?span={span}")
        assert sum(series["results"]) >= 1, span
        assert len({len(series[name]) for name in ("at", "p50_ms", "p95_ms", "failed", "results")}) == 1


def test_what_is_wrong_is_a_problem(api: Api, target: str) -> None:
    name = api.get(target)["name"]
    api.ask("POST", "/targets", 409, {"name": name, "spec": TARGET})
    api.ask("POST", "/targets", 422, {"name": "x", "spec": TARGET | {"headers": {"X-New": "•••"}}})
    api.ask("PATCH", target, 422, {"failures": 10})
    api.ask("PUT", f"/targets/{uuid4()}", 404, {"name": "x", "spec": TARGET})
    assert requests.delete(api.url + target, timeout=15).status_code == 401


def test_a_hit_needs_no_database(api: Api, stack: Stack, target: str) -> None:
    paths = ["/targets", target, f"{target}/statistics", f"{target}/latest"]
    for path in paths:
        until(lambda path=path: api.where(path) == "hit", 5, f"{path} to be in the cache")  # type: ignore[misc]
    with paused(stack, "db"):
        for path in paths:
            began = time.monotonic()
            assert api.where(path) == "hit", path
            assert time.monotonic() - began < 1, path


def test_a_target_without_results_is_a_hit_as_well(api: Api) -> None:
    target = api.add(enabled=False)
    assert [api.where(target) for _ in range(2)] == ["miss", "hit"]
    api.ask("DELETE", target, 204)


def test_one_reads_what_one_has_written(api: Api, target: str) -> None:
    for number in range(20):
        api.ask("PATCH", target, 200, {"name": f"{target}-{number}"})
        assert api.get(target)["name"] == f"{target}-{number}"


def test_without_redis_it_is_slower_and_not_broken(api: Api, stack: Stack, target: str) -> None:
    stack.compose("stop", "redis")
    try:
        for path in ("/targets", target, f"{target}/statistics", f"{target}/latest"):
            assert api.where(path) == "bypass", path
        api.ask("PATCH", target, 200, {"retries": 1})
        assert api.get(target)["retries"] == 1
    finally:
        stack.compose("start", "redis")
        stack.invoke("wait")
    assert api.get(target)["retries"] == 1


def test_no_request_that_follows_the_description_breaks_it(api: Api, tmp_path: Path) -> None:
    """Whatever Schemathesis makes of the OpenAPI document: no error of ours, and no answer that is not described."""
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
        for each in api.get("/targets"):
            api.ask("DELETE", f"/targets/{each['id']}", 204)


@contextmanager
def paused(stack: Stack, service: str) -> Iterator[None]:
    """A service whose processes stand still for the time of the block."""
    stack.compose("pause", service)
    try:
        yield
    finally:
        stack.compose("unpause", service)
