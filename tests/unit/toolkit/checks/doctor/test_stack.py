"""Findings about running containers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.toolkit.checks.doctor.findings import only, problems, reconfigure
from tests.unit.toolkit.conftest import CHECKOUT, FakeDocker
from toolkit.checkout.project import Project
from toolkit.checks.doctor import doctor, stack


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


ZERO = "0" * 32
ROUTE = f"{ZERO} {{prefix}} {ZERO} 00 {ZERO} 00000400 00000001 00000000 00000003 {{interface}}\n"
DEFAULT_ROUTE = ROUTE.format(prefix="00", interface="eth0")


@pytest.mark.parametrize(
    ("routes", "enabled", "host", "detail"),
    [
        (DEFAULT_ROUTE, True, True, "the worker has IPv6"),
        (DEFAULT_ROUTE, False, None, "the worker has IPv6"),
        (ROUTE.format(prefix="40", interface="eth0"), False, True, "the worker has no IPv6 (ENABLE_IPV6)"),
        (ROUTE.format(prefix="00", interface="lo"), False, True, "the worker has no IPv6 (ENABLE_IPV6)"),
        (None, False, False, "the worker has no IPv6 (ENABLE_IPV6)"),
        (DEFAULT_ROUTE, True, False, "this host has no route to the IPv6 Internet"),
        (None, True, True, "ENABLE_IPV6 is true, but the worker has no IPv6"),
        (ROUTE.format(prefix="00", interface="lo"), True, None, "ENABLE_IPV6 is true, but the worker has no IPv6"),
    ],
)
def test_doctor_reports_whether_worker_and_host_have_ipv6(
    project: Project, docker: FakeDocker, services: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
    routes: str | None, enabled: bool, host: bool | None, detail: str,
) -> None:  # fmt: skip
    run_worker(docker, services, "running", networks={"egress-network": {"enable_ipv6": enabled}})
    docker.on("exec", "abc", "cat", "/proc/sys/net/ipv4/ping_group_range", stdout="10001 10001")
    docker.on("exec", "abc", "cat", "/proc/net/ipv6_route", stdout=routes or "", code=int(routes is None))
    monkeypatch.setattr(stack, "host_has_ipv6", lambda: host)
    [finding] = [each for each in doctor(project, docker.cli).findings if each.check == "IPv6"]
    assert detail in finding.detail
    assert finding.outcome == ("warning" if "but" in detail or "this host" in detail else "ok")
    assert bool(finding.fix) is (finding.outcome == "warning")


def test_the_host_has_ipv6_if_it_has_a_default_route(tmp_path: Path) -> None:
    routes = tmp_path / "net/ipv6_route"
    assert stack.host_has_ipv6(routes) is None
    routes.parent.mkdir()
    assert stack.host_has_ipv6(routes) is False
    routes.write_text(ROUTE.format(prefix="40", interface="eth0"))
    assert stack.host_has_ipv6(routes) is False
    routes.write_text(DEFAULT_ROUTE)
    assert stack.host_has_ipv6(routes) is True


def test_the_setting_decides_on_ipv6_of_the_way_out_alone() -> None:
    networks = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())["networks"]
    with_ipv6 = {name: options["enable_ipv6"] for name, options in networks.items() if "enable_ipv6" in options}
    assert with_ipv6 == {"egress-network": "${ENABLE_IPV6:-false}"}


def run_worker(
    docker: FakeDocker, services: dict[str, Any], status: str, service: str = "worker", **more: object
) -> None:
    """A worker, or another service, whose container is `abc`; `more` is configured besides services."""
    reconfigure(docker, {**services, service: {"image": "app:1", "user": "10001:10001"}}, **more)
    labels = {"com.docker.compose.service": service, "com.docker.compose.config-hash": "1234"}
    found = {"Id": "abc", "Config": {"Labels": labels}, "State": {"Status": status}}
    docker.on("compose", "config", "--hash", stdout=f"app 1234\n{service} 1234\n")
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


@pytest.mark.parametrize(
    ("found", "status", "detail"),
    [
        ("", "running", "unchanged since the indexes were built"),
        ("en_US.utf8 2.36 -> 2.41\n", "running", "sorts text by other rules (en_US.utf8 2.36 -> 2.41)"),
        ("", "exited", None),
    ],
)
def test_database_with_other_collations_is_a_warning_with_its_repair(
    project: Project, docker: FakeDocker, services: dict[str, Any], found: str, status: str, detail: str | None
) -> None:
    run_worker(docker, services, status, service="db")
    docker.on("exec", "abc", "psql", stdout=found)
    findings = [each for each in doctor(project, docker.cli).findings if each.check == "collations"]
    if detail is None:
        assert findings == []
        return
    [finding] = findings
    assert detail in finding.detail
    assert finding.outcome == ("warning" if found else "ok")
    assert not found or finding.fix == "rebuild the indexes: docs/alerts/PostgresCollationsChanged.md"
