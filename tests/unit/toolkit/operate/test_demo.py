"""The demo's traffic: its requests, its route, and its end."""

from __future__ import annotations

import itertools
import json
import time

import pytest

from tests.unit.toolkit.conftest import FakeDocker, configuration
from tests.unit.toolkit.containers import container
from tests.unit.toolkit.httpserver import Route, server
from tests.unit.toolkit.programs import Programs
from toolkit.checkout import credentials
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.core.errors import ToolkitError
from toolkit.engine.stack_http import Response
from toolkit.operate.demo import TARGETS, TrafficGenerator, demo

ACCEPTED = {"id": "p1", "target": "http:app:3000:abc"}


@pytest.fixture(autouse=True)
def _set_up(project: Project) -> None:
    setup(project, "dev")


def containers(docker: FakeDocker, port: int | None = None) -> None:
    """A running application, published at ``port`` if given."""
    ports = {"3000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]} if port else {}
    docker.on("compose", "config", stdout=configuration(app={}))
    docker.on("ps", stdout="id-app-1")
    docker.on("container", "inspect", stdout=[container("app", ports=ports)])


def test_requests_are_of_every_kind_and_follow_the_accepted_probe() -> None:
    generator = TrafficGenerator("http://app:3000", TARGETS, {"Authorization": "Bearer x"})
    generator.record(Response("", 202, {}, json.dumps(ACCEPTED), ""))
    pending = list(itertools.islice(generator.requests(), 60))
    bodies = {json.loads(request.body)["url"] for _, request in pending if request.body}
    assert {"http://app:1/", "http://app:3000/nothing", "ftp://app/", *TARGETS} <= bodies
    assert {"unknown probe", "cache hit", "cache miss"} <= {
        word for purpose, _ in pending for word in ("unknown probe", "cache hit", "cache miss") if word in purpose
    }
    assert all(("Authorization" in request.headers) is (request.method == "POST") for _, request in pending)
    urls = [request.url for _, request in pending]
    assert "http://app:3000/api/probes/p1" in urls
    assert f"http://app:3000/api/targets/{ACCEPTED['target']}/latest" in urls
    assert not any("internet" in url or "example" in url for url in bodies), "no traffic leaves this machine"


def test_demo_uses_the_published_port(project: Project, docker: FakeDocker, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(method: str, _path: str, headers: dict[str, str], _body: str) -> Route:
        if method != "POST":
            return 404, {}, {}
        return (202, ACCEPTED, {}) if headers["Authorization"] == access["Authorization"] else (401, {}, {})

    access = credentials.authorization(project)

    with server(answer) as port:
        containers(docker, port)
        summary = demo(project, docker.cli, 0.3, 20)
    assert summary.sent == 20
    assert set(summary.statuses) == {"202", "404"}
    assert docker.ran("exec") == []
    summary.show()
    assert "20 requests in" in capsys.readouterr().out


def test_demo_runs_inside_the_stack_without_a_published_port(project: Project, docker: FakeDocker) -> None:
    containers(docker)
    programs = Programs(docker)
    programs.on("app/api/probes", ACCEPTED)
    assert demo(project, docker.cli, 0.2, 5).sent == 5
    assert programs.requests[0]["url"] == "http://app:3000/api/probes"


def test_demo_without_a_running_application_fails(project: Project, docker: FakeDocker) -> None:
    docker.on("compose", "config", stdout=configuration(app={}))
    docker.on("ps", stdout="")
    with pytest.raises(ToolkitError, match="app is not running"):
        demo(project, docker.cli, 1, 1)


def test_demo_fails_if_the_application_does_not_answer(project: Project, docker: FakeDocker) -> None:
    containers(docker, 1)
    with pytest.raises(ToolkitError, match="app does not answer"):
        demo(project, docker.cli, 1, 1)


def test_ctrl_c_ends_the_demo_with_its_summary(
    project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    containers(docker)
    Programs(docker).on("app/api/probes", ACCEPTED)
    assert demo(project, docker.cli, 60, 3).sent == 3
