"""Every finding of preflight, with its fix."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.unit.toolkit.conftest import CHECKOUT, INFO, FakeDocker, configuration
from toolkit.checkout import backupkey, credentials
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.checks import preflight
from toolkit.checks.doctor import host
from toolkit.checks.preflight import announce, clock_state, weakness
from toolkit.core import envfile
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding
from toolkit.engine import backup_service

DIGEST = "sha256:" + "0" * 64
SIZE = "--storage.tsdb.retention.size=8GB"
ISOLATED = {"driver_opts": {"com.docker.network.bridge.gateway_mode_ipv4": "isolated"}}
READY = {
    "DOMAIN": "monitor.netmon.io",
    "PROXY_BIND_ADDRESS": "0.0.0.0",  # noqa: S104
    "ALERT_RECEIVERS": "app,slack,deadmansswitch",
    "BACKUP_TARGET": "s3:https://s3.netmon.io/backup",
}
BACKED_UP: dict[str, Any] = {
    "own": True, "backups": [{"id": "1"}], "backup": {"full": time.time()}, "failed": {}, "verified": 1.0,
    "platform": time.time(),
}  # fmt: skip
"""The status of the backup service, with a recent backup."""


LINKS = {
    "APP_URL": "https://monitor.netmon.io",
    "GRAFANA_URL": "https://monitor.netmon.io/grafana",
    "RUNBOOKS_URL": "https://git.netmon.io/docs/alerts",
}


class Usage(NamedTuple):
    """What `shutil.disk_usage` returns."""

    total: int
    used: int
    free: int


@pytest.fixture(autouse=True)
def services(project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A checkout that is ready for production; tests may change the services."""
    setup(project, "prod", images="pulled", folder="/")
    shutil.copytree(CHECKOUT / "scripts" / "container", project.root / "scripts" / "container")
    envfile.update(project.env_file, READY)
    assert backupkey.ensure(project)
    envfile.update(project.env_file, {backupkey.COPY: backupkey.fingerprint(project)})
    monkeypatch.setattr(backup_service, "call", lambda *_, **__: dict(BACKED_UP))
    access = project.root / preflight.ACCESS
    access.mkdir(parents=True)
    (access / "login.caddy").write_text("basic_auth\n")
    folder = project.secrets_dir / "alertmanager"
    folder.mkdir()
    for name in ("slack_api_url", "deadmansswitch_url"):
        (folder / name).write_text("https://hooks.netmon.io/x\n")
    for name in READY:
        monkeypatch.delenv(name, raising=False)
    limits = {"deploy": {"resources": {"limits": {"memory": "1000000000"}}}}
    services: dict[str, Any] = {
        "app": {"image": "app:1", "build": {}, **limits},
        "alertmanager": {"image": f"am:1@{DIGEST}", **limits},
        "backup": {"image": "backup:1", "build": {}, **limits},
        "prometheus": {"image": f"prom:1@{DIGEST}", "environment": dict(LINKS), "command": [SIZE], **limits},
    }
    docker.on("info", stdout=INFO)
    docker.on("compose", "config", stdout={**configuration(**services), "networks": {"n": ISOLATED}})
    docker.on("compose", "config", "--hash", stdout="app 1\n")
    docker.on("image", "inspect", stdout=[{}])
    docker.on("ps", stdout="")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100 * 10**9, 0, 50_000_000_000))
    monkeypatch.setattr(preflight, "clock_state", lambda: 0)
    monkeypatch.setattr(host, "engine_files_limit", lambda: host.FILES)
    return services


def problems(project: Project, docker: FakeDocker, profile: str = "prod") -> list[Finding]:
    return [each for each in preflight.preflight(project, docker.cli, profile).findings if each.outcome != "ok"]


def only(project: Project, docker: FakeDocker, check: str, level: str = "failed") -> str:
    """The detail of the only problem, which has a fix."""
    [finding] = problems(project, docker)
    assert (finding.check, finding.outcome) == (check, level), finding
    assert finding.fix
    return finding.detail


def test_ready_checkout_has_no_problem(project: Project, docker: FakeDocker) -> None:
    assert problems(project, docker) == []


def test_files_of_the_profile_are_checked(project: Project, docker: FakeDocker) -> None:
    """Also if the checkout is set up for another profile."""
    setup(project, "dev")
    [finding] = [each for each in problems(project, docker) if each.check == "profile"]
    assert (finding.outcome, finding.fix) == ("failed", "run: invoke setup --profile=prod")
    assert any("docker-compose.prod.yml" in str(each.get("COMPOSE_FILE")) for each in docker.environments)


def test_development_profile_is_a_blocker(project: Project, docker: FakeDocker) -> None:
    setup(project, "dev")
    assert "dev is for development" in next(each.detail for each in problems(project, docker, "dev"))
    with pytest.raises(ToolkitError, match="unknown profile"):
        preflight.preflight(project, docker.cli, "staging")


@pytest.mark.parametrize(
    ("password", "message"),
    [
        ("correcthorsebatterystaple", ""),
        ("Password12345678", "common words and digits"),
        ("P4ssw0rd-P4ssw0rd", "common words and digits"),
        ("changeme-changeme", "common words and digits"),
        ("1234567890123456", "common words and digits"),
        ("aaaaaaaabbbbbbbb", "different characters"),
        ("Xq9-admin-vT3z_Lw8kR0pYb2", ""),
    ],
)
def test_weakness_of_a_password(password: str, message: str) -> None:
    assert message in weakness(password)
    assert bool(weakness(password)) is bool(message)


def test_generated_passwords_have_no_weakness() -> None:
    assert [value for value in (credentials.generate() for _ in range(2000)) if weakness(value)] == []


def test_weak_password_is_a_blocker(project: Project, docker: FakeDocker) -> None:
    credentials.path_of(project, "redis_password").write_text("password-password")
    assert only(project, docker, "passwords") == "secrets/redis_password.txt consists of common words and digits"


def test_weak_additional_token_is_a_blocker(project: Project, docker: FakeDocker) -> None:
    path = credentials.path_of(project, "api_token")
    path.write_text(f"{path.read_text()}\npassword-password")
    details = [each.detail for each in problems(project, docker)]
    assert details == [
        "secrets/api_token.txt contains 1 more besides the token in use",
        "secrets/api_token.txt consists of common words and digits",
    ]


def test_reused_password_is_a_blocker(project: Project, docker: FakeDocker) -> None:
    value = credentials.path_of(project, "redis_password").read_text()
    credentials.path_of(project, "postgres_password").write_text(value)
    assert "are the same" in only(project, docker, "passwords")


def test_missing_password_is_a_blocker(project: Project, docker: FakeDocker) -> None:
    credentials.path_of(project, "redis_password").unlink()
    assert {each.check for each in problems(project, docker)} == {"secrets", "passwords"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("localhost", "no browser trusts"),
        ("", "no browser trusts"),
        ("netmon.local", "no browser trusts"),
        ("monitor.example.org", "no browser trusts"),
        ("192.0.2.7", "an IP address"),
        ("monitor", "not a complete name"),
    ],
)
def test_domain_without_a_trusted_certificate_is_a_blocker(
    project: Project, docker: FakeDocker, name: str, message: str
) -> None:
    envfile.update(project.env_file, {"DOMAIN": name})
    assert message in only(project, docker, "domain")


@pytest.mark.parametrize(("bound", "level"), [("127.0.0.1", "warning"), ("", "warning")])
def test_unreachable_address_is_reported(project: Project, docker: FakeDocker, bound: str, level: str) -> None:
    envfile.update(project.env_file, {"PROXY_BIND_ADDRESS": bound})
    assert bound in only(project, docker, "address", level)


def test_a_page_that_everyone_can_read_is_a_decision(project: Project, docker: FakeDocker) -> None:
    rules = project.root / preflight.ACCESS / "login.caddy"
    rules.unlink()
    assert only(project, docker, "readers", "warning").startswith("everyone who can reach the proxy can read all")
    rules.with_name("public.caddy").touch()
    assert problems(project, docker) == []


@pytest.mark.parametrize(
    ("variable", "value", "check", "message"),
    [
        ("DOMAIN", "https://monitor.netmon.io", "domain", "not a host name"),
        ("PROXY_BIND_ADDRESS", "everywhere", "address", "not an IP address"),
    ],
)
def test_value_that_breaks_the_rule_of_its_setting_is_a_blocker(
    project: Project, docker: FakeDocker, variable: str, value: str, check: str, message: str
) -> None:
    envfile.update(project.env_file, {variable: value})
    by_check = {finding.check: finding for finding in problems(project, docker)}
    assert {name: finding.outcome for name, finding in by_check.items()} == {check: "failed", "settings": "failed"}
    assert message in by_check[check].detail
    assert f"{variable}: the value must be" in by_check["settings"].detail


@pytest.mark.parametrize(
    ("receivers", "level", "message"),
    [
        ("app", "failed", "to the application only"),
        ("", "failed", "nowhere"),
        ("deadmansswitch", "failed", "no person is notified"),
        ("app,slack", "warning", "no dead man's switch"),
        ("email,deadmansswitch", "failed", "smtp_password is missing"),
        ("slack,sns,deadmansswitch", "failed", "aws_credentials is missing"),
        ("slack,deadmansswitch,pagerdutty", "failed", "there is no channel pagerdutty"),
    ],
)
def test_alerts_without_a_person_are_reported(
    project: Project, docker: FakeDocker, receivers: str, level: str, message: str
) -> None:
    envfile.update(project.env_file, {"ALERT_RECEIVERS": receivers})
    assert message in only(project, docker, "alert receivers", level)


def test_disabled_monitoring_is_a_blocker(project: Project, docker: FakeDocker, services: dict[str, Any]) -> None:
    del services["alertmanager"], services["prometheus"]
    docker.on("compose", "config", "--format", stdout=configuration(**services))
    assert "monitoring is disabled" in only(project, docker, "alert receivers")


@pytest.mark.parametrize(
    ("name", "url", "message"),
    [
        ("RUNBOOKS_URL", "docs/alerts", "not an absolute address"),
        ("RUNBOOKS_URL", "//git.netmon.io/docs", "not an absolute address"),
        ("RUNBOOKS_URL", "", "not an absolute address"),
        ("GRAFANA_URL", "http://localhost:3001", "this machine or network only"),
        ("GRAFANA_URL", "http://grafana.localhost", "this machine or network only"),
        ("GRAFANA_URL", "http://grafana:3000", "this machine or network only"),
        ("APP_URL", "http://127.0.0.1:3000", "an address of this machine"),
        ("APP_URL", "http://[::]:3000", "an address of this machine"),
        ("APP_URL", "ftp://monitor.netmon.io", "not an absolute address"),
    ],
)
def test_links_that_readers_cannot_open_are_a_blocker(
    project: Project, docker: FakeDocker, services: dict[str, Any], name: str, url: str, message: str
) -> None:
    services["prometheus"]["environment"][name] = url
    docker.on("compose", "config", "--format", stdout={**configuration(**services), "networks": {"n": ISOLATED}})
    detail = only(project, docker, "links")
    assert detail.startswith(f"{name} is {url}: ")
    assert message in detail


def test_links_to_a_private_network_are_accepted(
    project: Project, docker: FakeDocker, services: dict[str, Any]
) -> None:
    services["prometheus"]["environment"]["APP_URL"] = "http://10.1.2.3"
    docker.on("compose", "config", "--format", stdout={**configuration(**services), "networks": {"n": ISOLATED}})
    assert problems(project, docker) == []


def test_source_links_of_webhooks_to_this_host_are_a_warning(project: Project, docker: FakeDocker) -> None:
    (project.secrets_dir / "alertmanager" / "webhook_url").write_text("https://hooks.netmon.io/x\n")
    envfile.update(project.env_file, {"ALERT_RECEIVERS": "webhook,deadmansswitch",
                                      "ALERTMANAGER_URL": "https://alerts.netmon.io"})  # fmt: skip
    assert "PROMETHEUS_URL is not set" in only(project, docker, "links", "warning")
    envfile.update(project.env_file, {"PROMETHEUS_URL": "http://[2001:4860:4860::8888]:9090"})
    assert problems(project, docker) == []


def test_missing_backup_is_a_blocker(project: Project, docker: FakeDocker) -> None:
    envfile.update(project.env_file, {"BACKUP_TARGET": ""})
    assert "no backup is set up" in only(project, docker, "backup")


def test_a_target_without_the_service_is_a_blocker(
    project: Project, docker: FakeDocker, services: dict[str, Any]
) -> None:
    del services["backup"]
    docker.on("compose", "config", "--format", stdout=configuration(**services))
    assert "nothing makes backups" in only(project, docker, "backup")


def test_a_key_without_a_copy_elsewhere_is_a_blocker(project: Project, docker: FakeDocker) -> None:
    envfile.update(project.env_file, {backupkey.COPY: "an earlier key"})
    assert "no copy of secrets/backup/key" in only(project, docker, "backup")
    backupkey.path_of(project).unlink()
    assert "secrets/backup/key is missing" in only(project, docker, "backup")


@pytest.mark.parametrize(
    ("change", "message", "level"),
    [
        ({"own": False}, "in use by another host", "failed"),
        ({"backups": [], "backup": {}}, "no backup has been completed", "failed"),
        ({"backup": {"full": time.time() - 27 * 3600}}, "the newest backup is 27 hours old", "failed"),
        ({"failed": {"transfer": "no space"}}, "transfer failed: no space", "failed"),
        ({"failed": {"verify": "differs"}}, "verify failed: differs", "warning"),
        ({"verified": 0}, "no restore has been verified", "warning"),
    ],
)
def test_the_state_of_the_backups_is_reported(
    project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str,
    level: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(backup_service, "call", lambda *_, **__: {**BACKED_UP, **change})
    assert message in only(project, docker, "backup", level)


def test_a_repository_that_does_not_open_is_a_blocker(
    project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ToolkitError("cannot list the backups", "the key is not that of this repository", "the copy")

    monkeypatch.setattr(backup_service, "call", fail)
    assert "the key is not that of this repository" in only(project, docker, "backup")


def test_a_target_on_the_disk_of_the_data_is_a_warning(project: Project, docker: FakeDocker, tmp_path: Path) -> None:
    envfile.update(project.env_file, {"BACKUP_TARGET": str(tmp_path)})
    docker.on("info", stdout={**INFO, "DockerRootDir": str(tmp_path.parent)})
    [found] = [each for each in problems(project, docker) if each.check == "backup"]
    assert "on the same disk as the data" in found.detail
    assert found.outcome == "warning"


def test_warnings_of_the_doctor_are_blockers(project: Project, docker: FakeDocker) -> None:
    docker.on("info", stdout={**INFO, "MemTotal": 2_600_000_000})
    assert "may take 4.0 GB" in only(project, docker, "memory")
    docker.on("info", stdout=INFO)
    project.env_file.chmod(0o644)
    assert ".env" in only(project, docker, "permissions")


def test_engine_without_isolated_networks_is_a_blocker(project: Project, docker: FakeDocker) -> None:
    docker.on("info", stdout={**INFO, "ServerVersion": "27.5.1"})
    assert "28 or newer" in only(project, docker, "engine")


def test_insufficient_space_for_data_is_a_warning(
    project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(20 * 10**9, 0, 15_000_000_000))
    found = only(project, docker, "data disk", "warning")
    assert "the data of 100 targets every minute, as none are known yet, takes up to 26 GB" in found
    assert "metrics 9.4, images 6.0, backup in progress 5.7" in found
    assert "of the 20 GB of" in found


def test_the_space_for_data_depends_on_the_targets(
    project: Project, docker: FakeDocker, services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    services["db"] = {"image": f"db@{DIGEST}", **services["alertmanager"]}
    docker.on("compose", "config", "--format", stdout=configuration(**services))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100 * 10**9, 0, 90 * 10**9))
    docker.on("exec", "db", "psql", stdout="100|1.7\n")
    assert problems(project, docker) == []
    docker.on("exec", "db", "psql", stdout="5000|83.3\n")
    assert "the data of 5000 targets takes up to" in only(project, docker, "data disk", "warning")


def test_engine_on_another_host_is_a_blocker(project: Project, docker: FakeDocker) -> None:
    docker.on("info", stdout={**INFO, "DockerRootDir": "/nowhere"})
    found = {each.check: each.outcome for each in problems(project, docker)}
    assert found == {"engine files": "failed", "disk": "skipped", "data disk": "skipped"}


@pytest.mark.parametrize(("state", "message"), [(5, "not synchronised"), (None, "not checked")])
def test_unsynchronised_clock_is_a_warning(
    project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, state: int | None, message: str
) -> None:
    monkeypatch.setattr(preflight, "clock_state", lambda: state)
    assert message in only(project, docker, "clock", "warning")


def test_clock_state_is_read_from_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    state = clock_state()
    assert state is None or 0 <= state <= 5


def test_images_without_a_digest_are_a_warning(project: Project, docker: FakeDocker, services: dict[str, Any]) -> None:
    services["alertmanager"]["image"] = "am:1"
    docker.on("compose", "config", "--format", stdout=configuration(**services))
    assert "am:1" in only(project, docker, "digests", "warning")
    setup(project, None, images="local")
    assert "built here" in only(project, docker, "digests", "warning")


def test_announce_prints_counts_only_in_production(
    project: Project, docker: FakeDocker, capsys: pytest.CaptureFixture[str]
) -> None:
    announce(project, docker.cli)
    assert capsys.readouterr().out == ""
    envfile.update(project.env_file, {"BACKUP_TARGET": "", "DOMAIN": "localhost", "PROXY_BIND_ADDRESS": ""})
    announce(project, docker.cli)
    assert "not ready for production: 2 blockers, 1 warnings" in capsys.readouterr().out
    setup(project, "dev")
    announce(project, docker.cli)
    assert capsys.readouterr().out == ""


def test_missing_secrets_folder_is_a_blocker(project: Project, docker: FakeDocker) -> None:
    shutil.rmtree(project.secrets_dir)
    assert {each.check for each in problems(project, docker)} == {"secrets", "passwords", "alert receivers", "backup"}
    assert isinstance(project.secrets_dir, Path)
