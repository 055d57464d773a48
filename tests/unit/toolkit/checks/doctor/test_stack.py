"""Findings about running containers."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.unit.toolkit.checks.doctor.findings import only, problems, reconfigure
from tests.unit.toolkit.conftest import CHECKOUT, FakeDocker
from toolkit.checkout.project import Project
from toolkit.checks.doctor import (
    doctor,
)


def test_container_with_an_older_configuration_is_a_warning(project: Project, docker: FakeDocker) -> None:
    def running(configuration_hash: str) -> None:
        labels = {"com.docker.compose.service": "app", "com.docker.compose.config-hash": configuration_hash}
        docker.on("container", "inspect", stdout=[{"Config": {"Labels": labels}}])

    docker.on("image", "inspect", "--format", "{{.Id}}", code=1)

    docker.on("ps", "--all", stdout="abc\n")
    running("1234")
    assert problems(project, docker) == []
    running("0000")
    finding = only(project, docker, "containers", "warning")
    assert finding.detail == "app: started with an older configuration or image"
    assert finding.fix == "run: invoke up"


def test_container_with_an_older_image_is_a_warning(project: Project, docker: FakeDocker) -> None:
    labels = {"com.docker.compose.service": "app", "com.docker.compose.config-hash": "1234"}
    found = {"Config": {"Labels": labels | {"com.docker.compose.image": "sha256:old"}}}
    docker.on("ps", "--all", stdout="abc\n")
    docker.on("container", "inspect", stdout=[found])
    docker.on("image", "inspect", "--format", "{{.Id}}", stdout="sha256:old\n")
    assert problems(project, docker) == []
    docker.on("image", "inspect", "--format", "{{.Id}}", stdout="sha256:new\n")
    assert only(project, docker, "containers", "warning").fix == "run: invoke up"


@pytest.mark.parametrize(
    ("groups", "status", "detail"),
    [
        ("10001\t10001\n", "running", "the worker may send pings"),
        ("0\t2147483647\n", "running", "the worker may send pings"),
        ("1\t0\n", "running", "10001, is not among the groups 1 to 0 that may send pings"),
        ("0\t0\n", "running", "10001, is not among the groups 0 to 0 that may send pings"),
        ("1\t0\n", "exited", "no worker is running"),
    ],
)
def test_worker_that_must_not_send_pings_is_a_warning(
    project: Project, docker: FakeDocker, services: dict[str, Any], groups: str, status: str, detail: str
) -> None:
    run_worker(docker, services, status)
    docker.on("exec", "abc", "cat", "/proc/net/ipv6_route")
    docker.on("exec", "abc", "cat", "/proc/sys/net/ipv4/ping_group_range", stdout=groups)
    [finding] = [each for each in doctor(project, docker.cli).findings if each.check == "pings"]
    assert detail in finding.detail
    assert finding.outcome == ("warning" if "not among" in detail else "ok")


@pytest.mark.parametrize(
    ("interface", "prefix", "detail"),
    [
        ("eth0", "00", "the worker has IPv6"),
        ("eth0", "40", "the worker has no IPv6"),
        ("lo", "00", "the worker has no IPv6"),
        (None, "", "the worker has no IPv6"),
    ],
)
def test_doctor_reports_whether_the_worker_has_ipv6(
    project: Project, docker: FakeDocker, services: dict[str, Any], interface: str | None, prefix: str, detail: str
) -> None:
    run_worker(docker, services, "running")
    docker.on("exec", "abc", "cat", "/proc/sys/net/ipv4/ping_group_range", stdout="10001 10001")
    zero = "0" * 32
    route = f"{zero} {prefix} {zero} 00 {zero} 00000400 00000001 00000000 00000003 {interface or ''}\n"
    docker.on("exec", "abc", "cat", "/proc/net/ipv6_route", stdout=route if interface else "", code=int(not interface))
    [finding] = [each for each in doctor(project, docker.cli).findings if each.check == "IPv6"]
    assert detail in finding.detail
    assert finding.outcome == "ok"


def run_worker(docker: FakeDocker, services: dict[str, Any], status: str) -> None:
    """A worker, whose container is `abc`."""
    reconfigure(docker, {**services, "worker": {"image": "app:1", "user": "10001:10001"}})
    labels = {"com.docker.compose.service": "worker", "com.docker.compose.config-hash": "1234"}
    found = {"Id": "abc", "Config": {"Labels": labels}, "State": {"Status": status}}
    docker.on("compose", "config", "--hash", stdout="app 1234\nworker 1234\n")
    docker.on("ps", "--all", stdout="abc\n")
    docker.on("container", "inspect", stdout=[found])
    docker.on("image", "inspect", "--format", "{{.Id}}", code=1)


def test_the_compose_file_lets_the_group_of_the_worker_send_pings() -> None:
    services = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())["services"]
    first, last = map(int, services["worker"]["sysctls"]["net.ipv4.ping_group_range"].split())
    assert first == last == int(services["worker"]["user"].rpartition(":")[2])


@pytest.mark.parametrize("service", ["app", "worker", "smoke"])
def test_names_are_complete_in_the_services_of_the_application(service: str) -> None:
    """No search domain is applied, and the engine asks nobody for names without a dot."""
    options = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())["services"][service]
    assert (options["dns_search"], options["dns_opt"]) == (".", ["ndots:0"])
