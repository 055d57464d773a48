"""Checks of the credentials: findings, refusal of invalid values, and no value in any output."""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import time
from base64 import b64decode, urlsafe_b64encode
from functools import cache
from pathlib import Path

import pytest

from tests.unit.toolkit.conftest import INFO, FakeDocker
from tests.unit.toolkit.containers import container
from tests.unit.toolkit.httpserver import Route, server
from toolkit.checkout import credentials
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.checks import secretcheck
from toolkit.checks.secretcheck import Row, bits, check, report
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Result
from toolkit.operate.lifecycle import Options, up

BAD = {
    "empty": b"",
    "only a newline": b"\n",
    "newline inside": b"0123456789\nabcdefghij",
    "two newlines": b"0123456789abcdefghij\n\n",
    "1 MB": b"x" * 1_000_000,
    "NUL": b"0123456789\0abcdefghij",
    "double quote": b'0123456789"abcdefghij',
    "single quote": b"0123456789'abcdefghij",
    "dollar sign": b"0123456789$abcdefghij",
    **{f"a {sign} inside": f"0123456789{sign}abcdefghij".encode() for sign in "@:/?#` \\&=\t"},
    "percent sign": b"0123456789%abcdefghij",
    "not ASCII": "0123456789éabcdefghij".encode(),
    "not text": b"\xff\xfe0123456789abcdefghij",
    "leading dash": b"-0123456789abcdefghij",
    "leading newline": b"\n0123456789abcdefghij",
    "too short": b"0123456789",
}
SERVICES = ("db", "redis", "rabbitmq", "grafana", "app")


STRENGTH = cache(bits)


@pytest.fixture(autouse=True)
def _fixed_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same passwords in every test, so that the slow computation of their strength is cached."""
    generator = random.Random(0)  # noqa: S311 - test passwords
    monkeypatch.setattr(
        secrets, "token_urlsafe", lambda size: urlsafe_b64encode(generator.randbytes(size)).decode()[:-1]
    )
    monkeypatch.setattr(secretcheck, "bits", STRENGTH)


@pytest.fixture(autouse=True)
def stack(project: Project, docker: FakeDocker, _fixed_passwords: None) -> None:
    """A checkout after setup, and a stack that accepts every password."""
    setup(project, "dev")
    own = {"image": "network-monitor:dev"}
    docker.on("compose", "config", stdout={"name": "network-monitor", "services": {"app": own, "smoke": own}})
    docker.on("ps", stdout="one two")
    docker.on("container", "inspect", stdout=[container(service) for service in SERVICES])
    docker.on("exec")
    docker.on("exec", "--interactive", stdout="status 204\n")
    docker.on("exec", "redis", stdout="OK\nPONG\n")


def row(project: Project, docker: FakeDocker, name: str) -> Row:
    [found] = [each for each in check(project, docker.cli) if each.name == name]
    return found


def write(project: Project, name: str, content: bytes) -> Path:
    path = credentials.path_of(project, name)
    path.write_bytes(content)
    return path


def test_valid_credentials_are_ok(project: Project, docker: FakeDocker, capsys: pytest.CaptureFixture[str]) -> None:
    rows = check(project, docker.cli)
    assert [row.name for row in rows] == list(project.secrets)
    assert {row.outcome for row in rows} == {"ok"}
    report(rows).show()
    report(rows).require()
    output = capsys.readouterr().out
    assert "db: netmon_a" in output
    assert "redis accepts it" in output
    assert "kafka requires no login in this profile" in output
    assert not any(value in output for value in credentials.read(project).values() if len(value) > 20)


def test_passwords_are_in_no_argument_and_no_variable(project: Project, docker: FakeDocker) -> None:
    check(project, docker.cli)
    passwords = [credentials.load(project, each) for each in project.secrets.values() if each.service in SERVICES]
    logins = docker.ran("exec")
    assert len(logins) == len(passwords)
    for password in passwords:
        assert not any(password in word for argv in docker.calls for word in argv)
        assert not any(password in (value or "") for env in docker.environments for value in env.values())
        assert sum(password in given for given in docker.inputs) == 1


def test_credentials_of_stopped_services_are_not_tested(project: Project, docker: FakeDocker) -> None:
    docker.on("container", "inspect", stdout=[container("db", status="exited")])
    found = row(project, docker, "postgres_app_password")
    assert found.outcome == "skipped"
    assert found.findings[0].detail == "not tested: db is not running"
    assert not docker.ran("exec")
    docker.on("ps", code=1, stderr="Cannot connect to the Docker daemon")
    assert "not tested: cannot list the containers" in row(project, docker, "redis_password").findings[0].detail
    report(check(project, docker.cli)).require()


@pytest.mark.parametrize(
    ("name", "service", "result", "message", "fix"),
    [
        (
            "postgres_monitoring_password",
            "db",
            Result(3, "", 'psql:<stdin>:1: error: FATAL:  password authentication failed for user "monitoring_a"\n'),
            "db rejects it: psql:<stdin>:1: error: FATAL: password authentication failed",
            "/opt/netmon/postgres-accounts.sh",
        ),
        (
            "redis_app_password",
            "redis",
            Result(0, "WRONGPASS invalid username-password pair or user is disabled.\nNOAUTH required.\n", ""),
            "redis rejects it: NOAUTH required.",
            "--force-recreate redis",
        ),
        ("grafana_admin_password", "grafana", Result(22, "", ""), "exit code 22", "reset-admin-password"),
        ("rabbitmq_app_password", "rabbitmq", Result(65, "", "Error: failed\n"), "Error: failed", "rabbitmq"),
    ],
)
def test_rejected_password_fails(
    project: Project, docker: FakeDocker, name: str, service: str, result: Result, message: str, fix: str
) -> None:
    docker.answer("exec", service, by=result)
    found = row(project, docker, name)
    assert found.outcome == "failed"
    assert message in found.findings[-1].detail
    assert fix in found.findings[-1].fix
    with pytest.raises(ToolkitError, match="credentials failed"):
        report([found]).require()


def test_grafana_login_uses_its_api(project: Project, docker: FakeDocker) -> None:
    """Runs the command of Grafana's container against a server with the same responses."""
    password = credentials.load(project, project.secrets["grafana_admin_password"])

    def grafana(method: str, path: str, headers: dict[str, str], _body: str) -> Route:
        login = headers.get("Authorization", "").removeprefix("Basic ")
        if (method, path) == ("GET", "/api/org") and b64decode(login).decode() == f"admin:{password}":
            return 200, {"id": 1, "name": "Main Org."}, {}
        return 401, {"message": "Invalid username or password"}, {}

    with server(grafana) as port:

        def run(argv: list[str]) -> Result:
            command = [word.replace(":3000", f":{port}") for word in argv[argv.index("grafana") + 1 :]]
            # Other logins run in parallel.
            given = [each for each in docker.inputs if each.startswith('user = "admin:')][-1]
            done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
            return Result(done.returncode, done.stdout, done.stderr)

        docker.answer("exec", "grafana", by=run)
        assert row(project, docker, "grafana_admin_password").findings[0].detail == "grafana accepts it"
        write(project, "grafana_admin_password", credentials.generate().encode())
        found = row(project, docker, "grafana_admin_password")
        assert found.outcome == "failed"
        assert "grafana rejects it" in found.findings[-1].detail
        assert "401" in found.findings[-1].detail
        assert "reset-admin-password" in found.findings[-1].fix
        write(project, "grafana_admin_password", password.encode())
        assert row(project, docker, "grafana_admin_password").outcome == "ok"


def test_login_timeout_is_reported(project: Project, docker: FakeDocker) -> None:
    docker.answer("exec", "db", by=ToolkitError("docker compose exec db did not finish within 30 s"))
    assert "did not finish within 30 s" in row(project, docker, "postgres_password").findings[0].detail


def test_password_in_a_programs_output_is_masked(project: Project, docker: FakeDocker) -> None:
    password = credentials.load(project, project.secrets["postgres_password"])
    docker.on("exec", "db", code=3, stderr=f'syntax error at "{password}"')
    assert password not in row(project, docker, "postgres_password").findings[0].detail


def test_kafka_login_is_tested_with_the_secrets_layer(project: Project, docker: FakeDocker) -> None:
    setup(project, "prod")
    docker.on("container", "inspect", stdout=[container("kafka")])
    docker.on("exec", "kafka", code=1, stderr="SaslAuthenticationException: Authentication failed\n")
    found = row(project, docker, "kafka_app_password")
    assert found.account == "kafka: netmon_a"
    assert "Authentication failed" in found.findings[0].detail
    [given] = [each for each in docker.inputs if 'username="netmon_a"' in each]
    assert credentials.load(project, project.secrets["kafka_app_password"]) in given


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
@pytest.mark.parametrize("name", ["redis_app_password", "postgres_app_user"])
def test_invalid_secret_is_refused_before_anything_starts(
    project: Project, docker: FakeDocker, name: str, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    write(project, name, content)
    before = project.env_file.read_text()
    rows = check(project, docker.cli)
    [found] = [each for each in rows if each.name == name]
    assert found.outcome == "failed"
    assert found.findings[0].fix
    with pytest.raises(ToolkitError, match="credentials failed"):
        report(rows).require()
    for start in (lambda: setup(project, None), lambda: up(project, docker.cli, Options(60))):
        docker.on("info", stdout=INFO)
        with pytest.raises(ToolkitError, match=rf"secrets/{name}\.txt is invalid"):
            start()
    assert project.env_file.read_text() == before
    assert not docker.ran("compose", "up")
    text = content.decode(errors="replace").strip()
    assert not text or text[:18] not in capsys.readouterr().out


def test_additional_tokens_are_a_warning(project: Project, docker: FakeDocker) -> None:
    used = credentials.load(project, project.secrets["api_token"])
    assert row(project, docker, "api_token").account == "app"
    write(project, "api_token", f"{used}\n{credentials.generate()}".encode())
    found = row(project, docker, "api_token")
    assert [each.detail for each in found.findings] == [
        "secrets/api_token.txt contains 1 more besides the token in use",
        "app accepts it",
    ]
    write(project, "api_token", f"{used}\npassword12345678".encode())
    assert any("it is guessable" in each.detail for each in row(project, docker, "api_token").findings)


def test_token_is_tested_on_every_replica(project: Project, docker: FakeDocker) -> None:
    docker.on("container", "inspect", stdout=[container("app", number=number, id=f"app-{number}") for number in (1, 3)])
    docker.on("exec", "app-3", stdout="status 401\n")
    found = row(project, docker, "api_token")
    assert found.findings[0].detail == "app rejects it: status 401"
    docker.on("exec", "app-3", stdout="status 204\n")
    assert row(project, docker, "api_token").outcome == "ok"
    docker.on("exec", "app-1", code=1, stderr="ConnectionRefusedError: [Errno 111] Connection refused\n")
    assert "Connection refused" in row(project, docker, "api_token").findings[0].detail


def test_token_of_an_external_application_is_not_tested(project: Project, docker: FakeDocker) -> None:
    services = {"app": {"image": "yours:1"}, "smoke": {"image": "network-monitor:dev"}}
    docker.on("compose", "config", stdout={"name": "network-monitor", "services": services})
    found = row(project, docker, "api_token")
    assert (found.outcome, found.findings[0].detail) == (
        "ok",
        "app is another application and requires no token",
    )


def test_trailing_newline_is_a_warning(project: Project, docker: FakeDocker) -> None:
    value = credentials.load(project, project.secrets["redis_password"])
    write(project, "redis_password", f"{value}\n".encode())
    found = row(project, docker, "redis_password")
    assert (found.outcome, found.findings[0].fix) == ("warning", "run: truncate --size=-1 secrets/redis_password.txt")
    assert setup(project, None) == []


def test_missing_secret_fails(project: Project, docker: FakeDocker) -> None:
    credentials.path_of(project, "postgres_app_user").unlink()
    rows = {each.name: each for each in check(project, docker.cli)}
    assert rows["postgres_app_user"].findings[0].detail == "secrets/postgres_app_user.txt is missing"
    assert rows["postgres_app_password"].account == "db: ?"
    assert "postgres_app_user.txt is missing" in rows["postgres_app_password"].findings[0].detail


@pytest.mark.parametrize(
    ("mode", "level", "message"),
    [(0o600, "failed", "cannot read secrets/redis_password.txt"), (0o664, "warning", "can write")],
)
def test_unsafe_permissions_of_a_file_are_reported(
    project: Project, docker: FakeDocker, mode: int, level: str, message: str
) -> None:
    credentials.path_of(project, "redis_password").chmod(mode)
    found = row(project, docker, "redis_password")
    assert found.outcome == level
    assert message in found.findings[0].detail


def test_unsafe_permissions_of_the_folder_are_a_warning(project: Project, docker: FakeDocker) -> None:
    project.secrets_dir.chmod(0o750)
    found = row(project, docker, "secrets/")
    assert (found.outcome, found.account) == ("warning", "")
    report([found]).require()


def test_old_password_is_a_warning(project: Project, docker: FakeDocker) -> None:
    path = credentials.path_of(project, "redis_password")
    for days, level in ((90.5, "ok"), (91.5, "warning")):
        written = time.time() - days * 86400
        os.utime(path, (written, written))
        found = row(project, docker, "redis_password")
        assert (found.age, found.outcome) == (int(days), level)
    assert "91 days old" in found.findings[0].detail


@pytest.mark.parametrize("weak", ["a" * 64, "0123456789abcdef", "password12345678", "Summer2026-netmon"])
def test_weak_password_is_a_warning(project: Project, docker: FakeDocker, weak: str) -> None:
    write(project, "rabbitmq_password", weak.encode())
    project.env_file.write_text("".join(
        line for line in project.env_file.read_text().splitlines(True) if "RABBITMQ_PASSWORD" not in line
    ))  # fmt: skip
    setup(project, None)
    found = row(project, docker, "rabbitmq_password")
    assert found.outcome == "warning"
    assert "it is guessable" in found.findings[0].detail
    assert weak not in found.findings[0].detail


def test_generated_password_is_strong() -> None:
    assert bits(credentials.generate()) > 100
    assert bits("g7gUnpolft4hP3Bl") >= secretcheck.MIN_STRENGTH_BITS, "16 random characters are enough"


def test_reused_password_is_a_warning(project: Project, docker: FakeDocker) -> None:
    value = credentials.load(project, project.secrets["postgres_password"])
    write(project, "kafka_app_password", value.encode())
    assert row(project, docker, "postgres_password").findings[0].detail == "it is the same as kafka_app_password"
    assert row(project, docker, "kafka_app_password").outcome == "warning"
