"""Verdict and summary of a container, and the parsing of ``docker inspect``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.unit.toolkit.conftest import FakeDocker
from tests.unit.toolkit.containers import container, state
from toolkit.engine.health import Port, Verdict, container_states, parse_time


@pytest.mark.parametrize(
    ("fields", "verdict", "summary"),
    [
        ({}, "ok", "healthy"),
        ({"health": None}, "ok", "running, no health check"),
        ({"health": "starting"}, "starting", "starting"),
        ({"health": "unhealthy"}, "failed", "unhealthy"),
        ({"status": "created", "started": None, "health": "starting"}, "starting", "created"),
        ({"status": "created", "error": "port is already allocated"}, "failed", "created"),
        ({"status": "removing"}, "starting", "removing"),
        ({"status": "paused"}, "failed", "paused"),
        ({"status": "dead", "code": 1}, "failed", "dead with code 1"),
        ({"status": "exited", "code": 0, "policy": "no"}, "done", "exited with code 0"),
        ({"status": "exited", "code": 0, "policy": "on-failure"}, "done", "exited with code 0"),
        ({"status": "exited", "code": 3, "policy": "no"}, "failed", "exited with code 3"),
        ({"status": "exited", "code": 0}, "failed", "exited with code 0"),
        ({"status": "exited", "code": 137, "out_of_memory": True}, "failed", "exited with code 137, out of memory"),
        ({"status": "restarting", "restarts": 1}, "starting", "restarting, 1 restart"),
        ({"status": "restarting", "restarts": 3, "health": "starting"}, "failed", "keeps restarting, 3 restarts"),
        ({"health": "starting", "restarts": 3, "started": 1}, "failed", "keeps restarting, 3 restarts"),
        ({"health": None, "restarts": 3, "started": 1}, "failed", "keeps restarting, 3 restarts"),
        ({"health": "starting", "restarts": 3, "started": 30}, "starting", "starting, 3 restarts"),
        ({"health": None, "restarts": 9, "started": 30}, "ok", "running, no health check"),
        ({"health": "healthy", "restarts": 9, "started": 1}, "ok", "healthy"),
    ],
)
def test_verdict_and_summary_of_a_container(fields: dict[str, Any], verdict: str, summary: str) -> None:
    found = state(**fields)
    assert (found.verdict, found.summary) == (Verdict(verdict), summary)


def test_states_are_sorted_and_read_with_one_inspect(docker: FakeDocker) -> None:
    docker.on("ps", "--filter", "label=com.docker.compose.oneoff=False", stdout="c\nb\na\n")
    listed = [container("redis"), container("db", number=2), container("db")]
    docker.on("container", "inspect", "c", "b", "a", stdout=listed)
    found = container_states(docker.cli, "network-monitor")
    assert [(each.service, each.replica) for each in found] == [("db", 1), ("db", 2), ("redis", 1)]
    assert len(docker.calls) == 2


def test_ports_are_the_currently_published_ones() -> None:
    bindings = {
        "9092/tcp": [{"HostIp": "127.0.0.1", "HostPort": "19092"}, {"HostIp": "::", "HostPort": "19092"}],
        "29092/tcp": None,
        "9999/tcp": [{"HostIp": "0.0.0.0", "HostPort": "19999"}],  # noqa: S104
    }
    ports = state(ports=bindings).ports
    assert ports == (Port(9092, "127.0.0.1", 19092), Port(9092, "::", 19092), Port(9999, "0.0.0.0", 19999))  # noqa: S104
    assert [port.address for port in ports] == ["127.0.0.1:19092", "[::1]:19092", "127.0.0.1:19999"]


def test_last_check_is_the_latest_output_on_one_line() -> None:
    assert state(checks=[(9, 1, "old"), (1, 1, "psql:\n  no\n")]).last_check == "psql: no"
    assert state().last_check == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-25T03:47:17.123456789Z", datetime(2026, 11, 25, 3, 47, 17, 123456, UTC)),
        ("2026-11-25T04:47:17.5+01:00", datetime(2026, 11, 25, 3, 47, 17, 500000, UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
    ],
)
def test_parse_time(text: str, expected: datetime | None) -> None:
    assert parse_time(text) == expected
