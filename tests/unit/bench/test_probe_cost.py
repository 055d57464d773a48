"""The cost of a probe: what is stored, measured and subtracted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from bench import cpu, probe_cost
from bench.cpu import ENGINE_NAME, Window
from bench.probe_cost import FREQUENT, Bench, store

SERVICES = {"id-worker": "worker", "id-db": "db"}
OTHERS = {"id-blackbox": "blackbox-exporter", "id-prometheus": "prometheus"}


class Stack:
    """A stack with a token."""

    def url(self, path: str) -> str:
        return f"http://app{path}"

    def authorization(self) -> dict[str, str]:
        return {"Authorization": "Bearer token"}


class Peer:
    """Records what it is to probe."""

    containers = OTHERS

    def __init__(self) -> None:
        self.probed: list[int] = []

    def probe(self, urls: list[str], _interval: int) -> None:
        self.probed.append(len(urls))

    def memory(self) -> float:
        return 98e6


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A benchmark that has rested: each container uses 0.1 cores while idle and 0.5 while it probes 80 a second."""
    monkeypatch.setattr("bench.probe_cost.time.sleep", lambda _seconds: None)
    monkeypatch.setattr(probe_cost, "service_containers", lambda _stack: SERVICES)
    monkeypatch.setattr(probe_cost, "container_memory", lambda _stack, _service: 137e6)
    monkeypatch.setattr(probe_cost, "store", lambda *_args, **_options: None)

    def window(
        containers: Mapping[str, str], _probes: Callable[[], int], _seconds: float, expected: float = 0
    ) -> Window:
        return Window(dict.fromkeys((*containers.values(), ENGINE_NAME), 0.5 if expected else 0.1), expected)

    monkeypatch.setattr(cpu, "window", window)
    target: Any = SimpleNamespace(url="http://target/", requests=lambda: 0)
    made = Bench(Stack(), Peer(), target)  # type: ignore[arg-type]
    made.rest(FREQUENT)
    return made


def test_the_idle_cost_of_the_same_containers_is_taken_off(bench: Bench) -> None:
    assert bench.idle.keys() == {FREQUENT.key, "peer"}
    for measured, containers in ((bench.ours(FREQUENT)[0], SERVICES), (bench.theirs(FREQUENT), OTHERS)):
        assert measured.costs == pytest.approx(dict.fromkeys((*containers.values(), ENGINE_NAME), 5.0))
        assert measured.total == pytest.approx(10.0)


def test_the_others_rest_before_and_after_their_turn(bench: Bench) -> None:
    bench.ours(FREQUENT, rounds=3)
    bench.theirs(FREQUENT)
    assert bench.peer.probed == [0, FREQUENT.targets, 0]  # type: ignore[attr-defined]


@pytest.mark.parametrize("enabled", [True, False])
def test_all_targets_are_replaced_once_the_database_accepts_it(monkeypatch: pytest.MonkeyPatch, enabled: bool) -> None:
    sent: list[list[dict[str, Any]]] = []
    answers = iter([503, 200])

    def put(url: str, json: list[dict[str, Any]], **_options: object) -> requests.Response:
        assert url == "http://app/api/targets?prune=true"
        sent.append(json)
        answer = requests.Response()
        answer.status_code = next(answers)
        return answer

    monkeypatch.setattr(requests, "put", put)
    store(Stack(), "http://target/", FREQUENT, enabled=enabled)  # type: ignore[arg-type]
    assert len(sent) == 2
    assert len({each["spec"]["url"] for each in sent[0]}) == len({each["name"] for each in sent[0]}) == 400
    assert {(each["interval_seconds"], each["enabled"]) for each in sent[0]} == {(5, enabled)}


def test_another_answer_is_no_reason_to_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    def put(*_args: object, **_options: object) -> requests.Response:
        answer = requests.Response()
        answer.status_code = 422
        return answer

    monkeypatch.setattr(requests, "put", put)
    with pytest.raises(requests.HTTPError, match="422"):
        store(Stack(), "http://target/", FREQUENT, enabled=True)  # type: ignore[arg-type]
