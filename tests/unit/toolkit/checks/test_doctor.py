"""Every finding of the doctor: the problem, and the command that fixes it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.unit.toolkit.conftest import CHECKOUT, INFO, FakeDocker, configuration
from toolkit.checkout import credentials
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.checks.doctor import (
    doctor,
    require_engine,
    require_engine_folder,
    require_free_ports,
    require_readable_mounts,
)
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding
from toolkit.engine import health
from toolkit.engine.compose import Result


def information(engine: str = "28.5.2", **plugins: str) -> dict[str, Any]:
    """The output of `docker info` with these versions."""
    versions = {"compose": "2.40.3", "buildx": "v0.29.1", **plugins}
    client = {"Plugins": [{"Name": name, "Version": version} for name, version in versions.items() if version]}
    return {**INFO, "ServerVersion": engine, "ClientInfo": client}


class Usage(NamedTuple):
    """What `shutil.disk_usage` returns."""

    total: int
    used: int
    free: int


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A port in use by this process."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield held


@pytest.fixture(autouse=True)
def services(project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A healthy checkout, host and engine; tests may change the services."""
    setup(project, "dev", images="local", folder=str(INFO["DockerRootDir"]))
    shutil.copytree(CHECKOUT / "scripts" / "container", project.root / "scripts" / "container")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with project.env_file.open("a") as settings:
        settings.write(f"APP_PORT={port}\n")
    app = {
        "image": "app:1",
        "deploy": {"resources": {"limits": {"memory": "1000000000"}}, "replicas": 2},
        "ports": [{"host_ip": "127.0.0.1", "published": port, "target": 3000, "protocol": "tcp"}],
        "volumes": [{"type": "bind", "source": str(project.root / "scripts" / "container"), "target": "/opt/netmon"}],
    }
    config = configuration(app=app)
    docker.on("info", stdout=INFO)
    docker.on("compose", "config", stdout=config)
    docker.on("compose", "config", "--hash", stdout="app 1234\n")
    docker.on("image", "inspect", stdout=[{}])
    docker.on("ps", stdout="")
    monkeypatch.setattr(health, "container_states", lambda *_: [])  # a check with tests of its own
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100, 0, 50_000_000_000))
    services: dict[str, Any] = config["services"]
    return services


def reconfigure(docker: FakeDocker, services: dict[str, Any], **more: object) -> None:
    """Change the effective configuration."""
    docker.on("compose", "config", "--format", stdout={**configuration(**services), **more})


def problems(project: Project, docker: FakeDocker) -> list[Finding]:
    """The findings that are not ok."""
    return [finding for finding in doctor(project, docker.cli).findings if finding.outcome != "ok"]


def only(project: Project, docker: FakeDocker, check: str, level: str) -> Finding:
    """The only problem."""
    [finding] = problems(project, docker)
    assert (finding.check, finding.outcome) == (check, level), finding
    assert finding.fix
    return finding


def test_healthy_checkout_has_no_problem(project: Project, docker: FakeDocker) -> None:
    findings = doctor(project, docker.cli).findings
    assert {finding.outcome for finding in findings} == {"ok"}
    assert {finding.check for finding in findings} >= {
        "engine", "compose", "buildx", "limits", "memory", "disk", "settings", "permissions", "secrets", "shell",
        "compose files", "mounts", "ports", "containers", "leftovers", "data",
    }  # fmt: skip


# The host.


@pytest.mark.parametrize(
    ("check", "version", "message"),
    [
        ("engine", "24.0.9", "Docker Engine 24.0.9 is too old: 25 or newer"),
        ("compose", "v2.23.3-desktop", "Docker Compose 2.23.3-desktop is too old: 2.24"),
        ("buildx", "v0.16.2", "buildx 0.16.2 is too old"),
        ("buildx", "(devel)", "buildx reports no version"),
        ("buildx", "", "the plugin is not installed"),
    ],
)
def test_old_or_missing_program_fails(
    project: Project, docker: FakeDocker, check: str, version: str, message: str
) -> None:
    docker.on("info", stdout=information(**{check: version}))
    assert message in only(project, docker, check, "failed").detail


def test_isolated_networks_require_engine_28(project: Project, docker: FakeDocker, services: dict[str, Any]) -> None:
    isolated = {"driver_opts": {"com.docker.network.bridge.gateway_mode_ipv4": "isolated"}}
    docker.on("info", stdout=information("27.9.0"))
    assert problems(project, docker) == []
    reconfigure(docker, services, networks={"app-network": isolated})
    assert "27.9.0 is too old: 28" in only(project, docker, "engine", "failed").detail


def test_require_engine_raises_without_compose_or_with_an_old_engine(docker: FakeDocker) -> None:
    require_engine(docker.cli)
    docker.on("info", stdout=information(compose=""))
    with pytest.raises(ToolkitError, match="cannot run docker compose: the plugin is not installed") as error:
        require_engine(docker.cli)
    assert "Compose plugin" in error.value.fix
    docker.on("info", stdout=information("24.0.9"))
    with pytest.raises(ToolkitError, match="too old"):
        require_engine(docker.cli)


def test_unreachable_engine_does_not_stop_other_checks(project: Project, docker: FakeDocker) -> None:
    unreachable = "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?"
    for command in ("ps", "image"):
        docker.on("docker", command, code=1, stderr=unreachable)
    docker.on("docker", "info", code=1, stderr=unreachable, stdout=information(""))
    found = problems(project, docker)
    assert [finding.check for finding in found if finding.outcome == "failed"] == ["engine"]
    assert {finding.check for finding in found} == {
        "engine", "limits", "memory", "disk", "engine files", "containers", "leftovers", "data", "processor",
        "user namespace", "file system", "firewall", "time", "minimum memory",
    }  # fmt: skip
    assert all("not checked" in finding.detail for finding in found if finding.outcome == "warning")
    assert {"systemctl start docker" in finding.fix for finding in found} == {True}


def test_missing_docker_does_not_stop_checks_of_the_checkout(project: Project, docker: FakeDocker) -> None:
    docker.answer("docker", by=ToolkitError("cannot run docker", "the program is not installed", "install it"))
    credentials.path_of(project, "redis_password").write_text("")
    failed = {finding.check for finding in problems(project, docker) if finding.outcome == "failed"}
    assert failed == {"engine", "compose", "buildx", "secrets"}


def test_unenforced_limits_are_a_warning(project: Project, docker: FakeDocker) -> None:
    docker.on("info", stdout={**INFO, "MemoryLimit": False, "PidsLimit": False})
    assert "limits of memory, processes" in only(project, docker, "limits", "warning").detail


def test_insufficient_memory_is_a_warning(project: Project, docker: FakeDocker) -> None:
    docker.on("info", stdout={**INFO, "MemTotal": 1_900_000_000})
    assert "may take 2.0 GB, this machine has 1.9 GB" in only(project, docker, "memory", "warning").detail


@pytest.mark.parametrize(
    ("free", "images", "message"),
    [(1.9, True, "2 GB required to run"), (9.9, False, "10 GB required to pull or build"), (9.9, True, None)],
)
def test_insufficient_disk_space_fails(
    project: Project,
    docker: FakeDocker,
    monkeypatch: pytest.MonkeyPatch,
    free: float,
    images: bool,
    message: str | None,
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100, 0, int(free * 1e9)))
    if not images:
        docker.on("image", "inspect", code=1, stderr="No such image: app:1")
    if message:
        assert message in only(project, docker, "disk", "failed").detail
    else:
        assert problems(project, docker) == []


# The ports.


def publish_used_port(
    docker: FakeDocker, services: dict[str, Any], project: Project, held: socket.socket, variable: bool
) -> str:
    """Publish the port in use, and return it as text."""
    port = str(held.getsockname()[1])
    services["app"]["ports"][0]["published"] = port
    reconfigure(docker, services)
    if variable:
        with project.env_file.open("a") as settings:
            settings.write(f"APP_PORT={port}\n")
    return port


@pytest.mark.parametrize("variable", [True, False])
def test_port_in_use_by_a_process_fails(
    project: Project, docker: FakeDocker, services: dict[str, Any], listener: socket.socket, variable: bool
) -> None:
    port = publish_used_port(docker, services, project, listener, variable)
    finding = only(project, docker, "ports", "failed")
    assert f"port {port} for app" in finding.detail
    assert f"(pid {os.getpid()})" in finding.detail
    assert ("APP_PORT" in finding.fix) is variable
    assert ("override" in finding.fix) is not variable
    with pytest.raises(ToolkitError, match=rf"port {port} .*is taken"):
        require_free_ports(project, docker.cli)


def test_port_in_use_by_a_container_fails(
    project: Project, docker: FakeDocker, services: dict[str, Any], listener: socket.socket
) -> None:
    port = publish_used_port(docker, services, project, listener, variable=True)
    docker.on("ps", f"publish={port}/tcp", stdout="shop-web-1\tshop\n")
    assert "by the container shop-web-1 of project shop" in only(project, docker, "ports", "failed").detail
    docker.on("ps", f"publish={port}/tcp", stdout="lone\t\n")
    assert only(project, docker, "ports", "failed").detail.endswith("by the container lone")


def test_port_of_an_unlisted_container_is_awaited(
    project: Project, docker: FakeDocker, services: dict[str, Any], listener: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """After an interrupted `up` the engine's proxy holds the port, and the container is listed a moment later."""
    port = publish_used_port(docker, services, project, listener, variable=True)
    module = sys.modules[require_free_ports.__module__]
    monkeypatch.setattr(module, "_process", lambda *_: "docker-proxy (pid 1)")
    answers = iter(["", "", "network-monitor-app-1\tnetwork-monitor\tapp\n"])
    docker.answer("ps", f"publish={port}/tcp", by=lambda _: Result(0, next(answers), ""))
    require_free_ports(project, docker.cli)
    monkeypatch.setattr(module, "SETTLING_SECONDS", 0.3)
    docker.on("ps", f"publish={port}/tcp", stdout="")
    with pytest.raises(ToolkitError, match="docker-proxy"):
        require_free_ports(project, docker.cli)


def test_port_in_use_by_the_stack_is_ok(
    project: Project, docker: FakeDocker, services: dict[str, Any], listener: socket.socket
) -> None:
    port = publish_used_port(docker, services, project, listener, variable=True)
    docker.on("ps", f"publish={port}/tcp", stdout="network-monitor-app-1\tnetwork-monitor\tapp\n")
    assert problems(project, docker) == []
    require_free_ports(project, docker.cli)


def test_port_in_use_by_an_orphan_names_it_and_up_frees_it(
    project: Project, docker: FakeDocker, services: dict[str, Any], listener: socket.socket
) -> None:
    port = publish_used_port(docker, services, project, listener, variable=True)
    docker.on("ps", f"publish={port}/tcp", stdout="network-monitor-web-1\tnetwork-monitor\tweb\n")
    finding = only(project, docker, "ports", "failed")
    assert "network-monitor-web-1, which is left over from the service web: invoke up removes it" in finding.detail
    with pytest.raises(ToolkitError, match="left over from the service web"):
        require_free_ports(project, docker.cli)
    require_free_ports(project, docker.cli, {"network-monitor-web-1"})


def test_unknown_address_fails(project: Project, docker: FakeDocker, services: dict[str, Any]) -> None:
    services["app"]["ports"][0]["host_ip"] = "192.0.2.1"
    reconfigure(docker, services)
    assert "cannot be opened on 192.0.2.1" in only(project, docker, "ports", "failed").detail


def test_random_ports_are_not_checked(project: Project, docker: FakeDocker, services: dict[str, Any]) -> None:
    services["app"]["ports"] = [{"target": 1}, {"target": 2, "published": "4000-4005", "protocol": "tcp"}]
    reconfigure(docker, services)
    require_free_ports(project, docker.cli)


# The checkout.


def test_checkout_without_setup_fails(project: Project, docker: FakeDocker) -> None:
    project.env_file.unlink()
    found = problems(project, docker)
    assert [finding.check for finding in found if finding.outcome == "failed"] == ["settings"]
    assert {finding.fix for finding in found} == {"run: invoke setup"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("APP_PROT", "did you mean APP_PORT?"),
        ("POSTGRES_PASWORD", "POSTGRES_PASSWORD?"),
        ("XYZZY", "fix or delete"),
    ],
)
def test_unknown_variable_is_a_warning(project: Project, docker: FakeDocker, name: str, message: str) -> None:
    with project.env_file.open("a") as settings:
        settings.write(f"COMPOSE_PARALLEL_LIMIT=2\n{name}=1\n")
    finding = only(project, docker, "settings", "warning")
    assert name in finding.detail
    assert message in finding.fix


def test_variable_of_the_users_override_is_known(project: Project, docker: FakeDocker) -> None:
    (project.root / "docker-compose.override.yml").write_text("services: {app: {image: '${MINE}'}}\n")
    with project.env_file.open("a") as settings:
        settings.write("MINE=1\n")
    setup(project, None)
    assert problems(project, docker) == []


def test_outdated_settings_are_a_warning(project: Project, docker: FakeDocker) -> None:
    (project.root / "docker-compose.override.yml").write_text("services: {}\n")
    finding = only(project, docker, "settings", "warning")
    assert "COMPOSE_FILE" in finding.detail
    assert "docker-compose.override.yml" in finding.detail


def test_public_bind_address_fails(project: Project, docker: FakeDocker) -> None:
    with project.env_file.open("a") as settings:
        settings.write("BIND_ADDRESS=0.0.0.0\n")
    assert "loopback" in only(project, docker, "settings", "failed").detail


def test_readable_settings_are_a_warning(project: Project, docker: FakeDocker) -> None:
    project.env_file.chmod(0o640)
    assert only(project, docker, "permissions", "warning").fix == "run: chmod 600 .env"


@pytest.mark.parametrize("content", [None, "", "p@ss:word/0123456789", "short"])
def test_invalid_credential_fails(project: Project, docker: FakeDocker, content: str | None) -> None:
    path = credentials.path_of(project, "redis_password")
    path.unlink()
    if content is not None:
        path.write_text(content)
    finding = only(project, docker, "secrets", "failed")
    assert "secrets/redis_password.txt" in finding.detail
    assert not content or content not in finding.detail.replace("too short", "")


def test_credential_that_differs_from_env_fails(project: Project, docker: FakeDocker) -> None:
    credentials.path_of(project, "redis_password").write_text("another-password-0")
    finding = only(project, docker, "secrets", "failed")
    assert "REDIS_PASSWORD in .env differ" in finding.detail
    assert "another-password-0" not in finding.detail


def test_missing_or_unexpected_credential_in_env_fails(project: Project, docker: FakeDocker) -> None:
    text = project.env_file.read_text()
    password = project.env["REDIS_PASSWORD"]
    project.env_file.write_text(text.replace(password, "unused"))
    assert "REDIS_PASSWORD in .env is not set" in only(project, docker, "secrets", "failed").detail
    setup(project, "prod")
    project.env_file.write_text(re.sub("REDIS_PASSWORD=.*", f"REDIS_PASSWORD={password}", project.env_file.read_text()))
    assert "must not contain a password" in only(project, docker, "secrets", "failed").detail


def test_unreadable_credential_fails(project: Project, docker: FakeDocker) -> None:
    credentials.path_of(project, "redis_password").chmod(0o600)
    assert "cannot read secrets/redis_password.txt" in only(project, docker, "secrets", "failed").detail


def test_accessible_secrets_folder_is_a_warning(project: Project, docker: FakeDocker) -> None:
    project.secrets_dir.chmod(0o755)
    assert "can enter secrets/" in only(project, docker, "secrets", "warning").detail


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("COMPOSE_FILE", "other.yml", "other.yml"),
        ("COMPOSE_PROJECT_NAME", "other", "other"),
        ("LOG_LEVEL", "error", "error"),
        ("REDIS_PASSWORD", "hunter2", "a password"),
    ],
)
def test_shell_variable_that_overrides_env_is_a_warning(
    project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, name: str, value: str, shown: str
) -> None:
    monkeypatch.setenv(name, value)
    finding = only(project, docker, "shell", "warning")
    assert finding.detail.startswith(f"{name} is set in this shell ({shown})")
    assert finding.fix == f"run: unset {name}"
    monkeypatch.setenv(name, project.env.get(name, ""))


def test_shell_variable_with_the_same_value_is_ok(
    project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPOSE_FILE", project.env["COMPOSE_FILE"])
    assert problems(project, docker) == []


def test_invalid_compose_files_fail(project: Project, docker: FakeDocker) -> None:
    docker.on("compose", "config", code=1, stderr='service "ap" has neither an image nor a build context')
    found = problems(project, docker)
    [failed] = [each for each in found if each.outcome == "failed"]
    assert (failed.check, "has neither an image" in failed.detail) == ("compose files", True)
    assert all("not checked: cannot read the compose files" in each.detail for each in found if each is not failed)


def test_warning_of_compose_is_reported(project: Project, docker: FakeDocker, services: dict[str, Any]) -> None:
    warning = 'time="2026-01-02T03:04:05Z" level=warning msg="The \\"X\\" variable is not set."\n'
    docker.on("compose", "config", "--format", stdout=configuration(**services), stderr=warning)
    assert only(project, docker, "compose files", "warning").detail == 'The "X" variable is not set.'


def test_missing_mounted_file_fails(project: Project, docker: FakeDocker) -> None:
    shutil.rmtree(project.root / "scripts")
    finding = only(project, docker, "mounts", "failed")
    assert finding.detail == "scripts/container is mounted, but does not exist"
    assert finding.fix == "run: git restore scripts/container"


@pytest.mark.parametrize(("name", "mode"), [(".", 0o700), ("http-health.sh", 0o640)])
def test_unreadable_mounted_file_fails(project: Project, docker: FakeDocker, name: str, mode: int) -> None:
    path = project.root / "scripts" / "container" / name
    path.chmod(mode)
    finding = only(project, docker, "mounts", "failed")
    assert str(path.relative_to(project.root)) in finding.detail
    assert finding.fix == "run: chmod -R a+rX scripts/container"


def test_fix_for_unreadable_mounts_opens_no_folder_above_them(
    project: Project, docker: FakeDocker, services: dict[str, Any]
) -> None:
    mounted = [project.root / name for name in ("config/redis/redis.conf", "secrets/alertmanager", "secrets/targets")]
    for path in (*mounted[1:], mounted[0].parent):
        path.mkdir(parents=True)
    mounted[0].write_text("")
    for path in (*mounted, project.secrets_dir):
        path.chmod(0o600 if path.is_file() else 0o700)
    services["app"]["volumes"] += [{"type": "bind", "source": str(path), "target": "/x"} for path in mounted]
    docker.on("compose", "config", "--format", stdout=configuration(**services))
    finding = only(project, docker, "mounts", "failed")
    assert finding.fix == "run: chmod -R a+rX config/redis/redis.conf secrets/alertmanager secrets/targets"
    with pytest.raises(ToolkitError, match="accounts cannot read config/redis/") as up:
        require_readable_mounts(project, docker.cli)
    assert up.value.fix == finding.fix
    subprocess.run(shlex.split(finding.fix.removeprefix("run: ")), cwd=project.root, check=True)
    require_readable_mounts(project, docker.cli)
    assert stat.S_IMODE(project.secrets_dir.stat().st_mode) == 0o700


def test_unreadable_build_context_fails(project: Project, docker: FakeDocker, services: dict[str, Any]) -> None:
    folder = project.root / "app"
    folder.mkdir()
    services["app"]["build"] = {"context": str(folder)}
    docker.on("compose", "config", "--format", stdout=configuration(**services))
    require_readable_mounts(project, docker.cli)
    folder.chmod(0o700)
    found = [finding for finding in problems(project, docker) if finding.check == "mounts"]
    assert [finding.fix for finding in found] == ["run: chmod -R a+rX app"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_of_another_account_are_a_warning(project: Project, docker: FakeDocker) -> None:
    os.chown(project.root, 12345, 12345)
    os.chown(project.env_file, 12345, 12345)
    finding = only(project, docker, "permissions", "warning")
    assert finding.fix == "run: sudo chown -R 12345 secrets .netmon"


def test_mount_outside_the_checkout_is_not_checked(
    project: Project, docker: FakeDocker, services: dict[str, Any]
) -> None:
    services["app"]["volumes"].append({"type": "bind", "source": "/nowhere", "target": "/x"})
    reconfigure(docker, services)
    assert problems(project, docker) == []


# The stack.


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


def test_wrong_engine_folder_fails(project: Project, docker: FakeDocker) -> None:
    docker.on("info", stdout={**INFO, "DockerRootDir": "/srv/docker"})
    found = {each.check: each for each in problems(project, docker)}
    assert {name: each.outcome for name, each in found.items()} == {"engine files": "failed", "disk": "skipped"}
    assert "/srv/docker" in found["engine files"].detail


@pytest.mark.parametrize("readers", [0, 1])
def test_reader_of_engine_files_requires_a_local_engine(docker: FakeDocker, readers: int) -> None:
    docker.on("info", stdout={**INFO, "DockerRootDir": "/nowhere/docker"})
    logs = {"volumes": [{"type": "bind", "source": "/nowhere/docker/containers", "target": "/logs"}]}
    reconfigure(docker, {"app": {}, **({"otel-collector": logs} if readers else {})})
    if readers:
        with pytest.raises(ToolkitError, match="otel-collector cannot read the engine's files") as raised:
            require_engine_folder(docker.cli)
        assert "--without=monitoring" in raised.value.fix
    else:
        require_engine_folder(docker.cli)


def test_local_engine_files_are_ok(docker: FakeDocker, tmp_path: Path) -> None:
    docker.on("info", stdout={**INFO, "DockerRootDir": str(tmp_path)})
    require_engine_folder(docker.cli)
