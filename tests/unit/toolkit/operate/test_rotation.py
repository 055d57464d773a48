"""Rotation: both credentials work meanwhile, the old one is rejected at the end, also after a kill at any step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.toolkit.alertmanager import Alertmanager
from tests.unit.toolkit.conftest import FakeDocker
from tests.unit.toolkit.operate.rotatingstack import SERVERS, Stack
from toolkit.checkout import credentials, rotation_journal
from toolkit.checkout.accounts import accounts, require_account
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.checks import doctor
from toolkit.checks.doctor.secrets import of_rotation
from toolkit.core import envfile, files
from toolkit.core.errors import ToolkitError
from toolkit.engine import containers
from toolkit.engine.compose import Result
from toolkit.operate import rolling, silences
from toolkit.operate.rotation import rotate as module
from toolkit.operate.rotation import servers

pytestmark = pytest.mark.slow

NAMES = ("postgres_password", "postgres_app", "postgres_monitoring", "postgres_backup_password", "redis_password",
         "redis_app_password",
         "redis_monitoring_password", "rabbitmq_password", "rabbitmq_app", "rabbitmq_monitoring_password", "kafka_app",
         "kafka_monitoring_password", "grafana_admin_password", "api_token")  # fmt: skip


class Killed(BaseException):
    """A kill, which the code cannot catch."""


@pytest.fixture(autouse=True)
def _without_waits(monkeypatch: pytest.MonkeyPatch, project: Project) -> None:
    """No waits, and a supported engine."""
    monkeypatch.setattr(rolling, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(containers, "PAUSE", 0)
    monkeypatch.setattr(module, "PROPAGATION_SECONDS", 0)
    monkeypatch.setattr(servers, "OVERLAP_SECONDS", 0)
    monkeypatch.setattr(doctor, "require_engine", lambda _docker: None)
    project.lock_file.parent.mkdir()


@pytest.fixture(params=["prod", "dev"])
def stack(project: Project, docker: FakeDocker, request: pytest.FixtureRequest) -> Stack:
    return Stack(project, docker, request.param)


@pytest.fixture
def prod(project: Project, docker: FakeDocker) -> Stack:
    return Stack(project, docker, "prod")


def test_every_account_can_be_rotated(project: Project) -> None:
    assert tuple(account.name for account in accounts(project)) == NAMES
    assert {account.service for account in accounts(project)} == set(SERVERS)
    assert require_account(project, "postgres_app_password") == require_account(project, "postgres_app")
    with pytest.raises(ToolkitError, match="unknown secret 'x': known: postgres_password, postgres_app") as caught:
        require_account(project, "x")
    assert caught.value.code == 2


CREDENTIALS = [("prod", name) for name in NAMES] + [("dev", name) for name in NAMES if not name.startswith("kafka")]
"""In development Kafka requires no login."""


@pytest.mark.parametrize(("stack", "name"), CREDENTIALS, indirect=["stack"])
def test_new_credential_is_accepted_and_the_old_one_rejected(stack: Stack, name: str) -> None:
    account, before = require_account(stack.project, name), stack.in_use(name)
    stack.rotate(name)
    after = stack.in_use(name)
    assert all(before[key] != after[key] for key in after)
    assert stack.accepts(account, after)
    assert not stack.accepts(account, before)
    assert stack.accepts_every_client(account)
    assert [path.name for path in stack.project.secrets_dir.glob(".rotation*")] == []
    assert setup(stack.project, None) == [], ".env agrees"
    stack.rotate(name)
    assert not stack.accepts(account, after)
    if account.users:
        assert stack.in_use(name)[account.users.name] == before[account.users.name], "the two users alternate"


def test_passwords_are_in_no_argument_and_no_variable(stack: Stack) -> None:
    seen = set(credentials.read(stack.project).values())
    stack.rotate()
    seen |= set(credentials.read(stack.project).values())
    passwords = {value for value in seen if len(value) > 20}
    assert passwords
    assert not any(value in word for value in passwords for argv in stack.docker.calls for word in argv)
    assert not any(value in (each or "") for value in passwords for env in stack.docker.environments
                   for each in env.values())  # fmt: skip


def test_only_clients_of_the_credential_are_restarted(prod: Stack) -> None:
    """With secret files, the health check in the server's container reads the new value without a restart."""
    prod.rotate("postgres_app")
    assert prod.engine.log == ["created worker-11", "stopped worker-1", "removed worker-1", "created app-12",
                               "stopped app-2", "removed app-2"]  # fmt: skip
    prod.engine.log.clear()
    prod.rotate("redis_monitoring_password")
    assert prod.engine.log == ["created redis-exporter-13"]
    prod.engine.log.clear()
    prod.rotate("rabbitmq_monitoring_password")
    prod.rotate("redis_password")
    assert prod.engine.log == []


def test_server_with_a_replaced_file_is_recreated(prod: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    prod.docker.on("exec", "db", "sh", code=1)
    prod.rotate("postgres_monitoring")
    assert "created db-12" in prod.engine.log
    assert "db is restarted to read the new value" in capsys.readouterr().out


def test_connections_of_the_old_credential_are_closed(prod: Stack) -> None:
    prod.rotate("postgres_app")
    prod.rotate("redis_app_password")
    prod.rotate("rabbitmq_app")
    assert prod.book.disconnected == ["netmon_a", "netmon", "netmon_a"]


def start_alertmanager(stack: Stack) -> Alertmanager:
    stack.engine.services["alertmanager"] = {"image": "alertmanager:1"}
    stack.start("alertmanager")
    return Alertmanager(stack.docker)


def test_alerts_triggered_by_a_rotation_are_silenced(prod: Stack) -> None:
    alertmanager = start_alertmanager(prod)
    prod.rotate("postgres_app")
    [silence] = alertmanager.silenced()
    assert silence == {"alertname": list(silences.REPLACING), "service": ["worker", "app"]}
    assert [each["comment"] for each in alertmanager.silences] == ["rotation of postgres_app"]
    assert alertmanager.ending() == [True]


def test_services_with_an_active_alert_are_not_silenced(prod: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    alertmanager = start_alertmanager(prod)
    alertmanager.active = ["app"]
    prod.rotate("postgres_app")
    [silence] = alertmanager.silenced()
    assert silence["service"] == ["worker"]
    assert "  app: not silenced, since an alert is active already\n" in capsys.readouterr().out


def test_rotation_without_replaced_containers_creates_no_silence(prod: Stack) -> None:
    alertmanager = start_alertmanager(prod)
    prod.rotate("redis_password")
    assert alertmanager.silences == []


def test_alerts_of_a_restarted_server_are_silenced(prod: Stack) -> None:
    alertmanager = start_alertmanager(prod)
    prod.docker.on("exec", "db", "sh", code=1)
    prod.rotate("postgres_monitoring")
    clients, server = alertmanager.silenced()
    assert clients["service"] == ["postgres-exporter"]
    assert server["service"] == ["db", "worker", "app"]
    assert ".+Down" in server["alertname"]
    assert alertmanager.ending() == [True, True]


def test_failed_rotation_ends_its_silence(prod: Stack) -> None:
    alertmanager = start_alertmanager(prod)
    prod.engine.sick = lambda service, _image: service == "app"
    with pytest.raises(ToolkitError, match="unfinished"):
        prod.rotate("postgres_app")
    assert alertmanager.ending() == [True]


def test_rotation_without_alertmanager_skips_the_silence(prod: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    prod.rotate("postgres_app")
    assert "skipped: alertmanager is disabled" in capsys.readouterr().out


def kill_at(stack: Stack, at: int) -> Callable[[], None]:
    """Kill the process before its command number ``at``, events excepted; returns a function that ends this."""
    fake, count = type(stack.docker).__call__, iter(range(10_000))

    def call(self: FakeDocker, *args: Any, **kwargs: Any) -> Result:
        if "events" not in args[0] and next(count) == at:
            raise Killed
        return fake(self, *args, **kwargs)

    type(stack.docker).__call__ = call  # type: ignore[method-assign]

    def restore() -> None:
        type(stack.docker).__call__ = fake  # type: ignore[method-assign]

    return restore


@pytest.mark.parametrize("name", ["postgres_app", "redis_app_password", "redis_password", "rabbitmq_app",
                                  "kafka_monitoring_password", "kafka_app", "api_token"])  # fmt: skip
def test_rotation_killed_at_any_command_is_completed_by_the_next_run(prod: Stack, name: str) -> None:
    account, at, killed = require_account(prod.project, name), 0, True
    while killed:
        before = prod.in_use(name)
        restore = kill_at(prod, at)
        try:
            prod.rotate(name)
            killed = False
        except Killed:
            pass
        finally:
            restore()
        staged = rotation_journal.read(prod.project)
        if account.users or account.service == "redis":
            assert prod.accepts_every_client(account), f"killed at {at}"
        if name == "api_token":
            assert prod.every_replica_accepts(prod.in_use(name)[name]), f"killed at {at}"
        setup(prod.project, None)
        assert prod.in_use(name) in ((before, staged.after) if staged else (before, prod.in_use(name)))
        if staged:
            [finding] = of_rotation(prod.project)
            assert f"the rotation of {name} is unfinished" in finding.detail
        prod.rotate(name)
        assert rotation_journal.read(prod.project) is None
        assert not prod.accepts(account, before)
        assert prod.accepts(account, prod.in_use(name))
        assert prod.accepts_every_client(account)
        if staged:
            assert prod.in_use(name) == staged.after, "the rotation was completed, not repeated"
        at += 1
    assert at > 8


def test_token_is_accepted_before_and_after_its_use(prod: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token that a client reads is accepted by every replica, also a moment later."""
    path, contents = credentials.path_of(prod.project, "api_token"), []
    old, real = path.read_text(), files.overwrite

    def overwrite(written: Any, text: str) -> None:
        current = path.read_text().partition("\n")[0]
        real(written, text)
        contents.append(path.read_text())
        assert prod.every_replica_accepts(current) or len(contents) == 3, "a token read a moment ago"
        assert prod.every_replica_accepts(path.read_text().partition("\n")[0])

    monkeypatch.setattr(files, "overwrite", overwrite)
    prod.rotate("api_token")
    new = path.read_text()
    assert contents == [f"{old}\n{new}", f"{new}\n{old}", new]
    assert prod.engine.log == [], "no container was replaced"


def test_token_in_the_environment_requires_a_new_container(project: Project, docker: FakeDocker) -> None:
    stack = Stack(project, docker, "dev")
    stack.rotate("api_token")
    assert [entry.split()[0] for entry in stack.engine.log] == ["created", "stopped", "removed"]
    assert stack.project.env["API_TOKEN"] == credentials.first_line(stack.project, "api_token")


def test_replaced_token_file_requires_a_new_container(prod: Stack) -> None:
    """The container mounts the file that existed at its start."""
    path = credentials.path_of(prod.project, "api_token")
    old, mounted = path.read_text(), path.with_suffix(".mounted")
    path.rename(mounted)
    path.write_text(old)
    for name in prod._api():
        prod.engine.containers[name]["mounted"] = str(mounted)
    prod.rotate("api_token")
    assert [entry.split()[0] for entry in prod.engine.log] == ["created", "stopped", "removed"]
    assert prod.every_replica_accepts(path.read_text())
    assert not prod.every_replica_accepts(old)


def test_rotation_removes_other_tokens_from_the_file(prod: Stack) -> None:
    path = credentials.path_of(prod.project, "api_token")
    path.write_text(f"{path.read_text()}\nanother-token-of-somebody")
    prod.rotate("api_token")
    assert len(path.read_text().splitlines()) == 1


def test_replica_that_still_accepts_the_old_token_is_an_error(prod: Stack) -> None:
    prod.start("app")
    stale = prod.project.secrets_dir / "stale"
    real = prod._tokens
    stale.write_text(credentials.path_of(prod.project, "api_token").read_text())
    replica = prod._api()[0]
    prod.book.tokens = lambda name: real(name) | ({stale.read_text()} if name == replica else set())
    with pytest.raises(ToolkitError, match="app still accepts the old credential"):
        prod.rotate("api_token")


def test_token_of_an_external_application_is_skipped(prod: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    prod.engine.services["smoke"] |= {"image": "network-monitor:other"}
    before = prod.in_use("api_token")
    prod.rotate()
    assert "api_token: skipped, app is another application and requires no token" in capsys.readouterr().out
    assert prod.in_use("api_token") == before


@pytest.mark.parametrize("written", [0, 1, 2])
def test_partly_written_files_are_completed_by_setup(
    stack: Stack, written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, count = files.overwrite, iter(range(10))

    def overwrite(path: Any, text: str) -> None:
        if next(count) == written:
            raise Killed
        real(path, text)

    def env(*_args: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(files, "overwrite", overwrite)
        patch.setattr(envfile, "update", env)
        with pytest.raises(Killed):
            stack.rotate("postgres_app")
    staged = rotation_journal.read(stack.project)
    assert staged
    setup(stack.project, None)
    assert stack.in_use("postgres_app") == (staged.after if written else staged.before)
    if stack.profile == "dev":
        assert stack.project.env["POSTGRES_APP_PASSWORD"] == stack.in_use("postgres_app")["postgres_app_password"]
    stack.rotate("postgres_app")
    assert stack.in_use("postgres_app") == staged.after


@pytest.mark.parametrize("operation", ["begin", "end"])
def test_kill_during_a_change_of_the_journal_is_cleaned_up(
    prod: Stack, operation: str, monkeypatch: pytest.MonkeyPatch, project: Project
) -> None:
    before = prod.in_use("redis_app_password")
    killing = {"begin": (files, "write_atomically"), "end": (shutil, "rmtree")}[operation]
    count = iter(range(10))

    def kill(*_args: Any, **_options: Any) -> None:
        if operation == "begin" or next(count) == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(*killing, kill)
        with pytest.raises(Killed):
            prod.rotate("redis_app_password")
    assert rotation_journal.read(project) is None
    assert list(project.secrets_dir.glob(".rotation.part"))
    assert (prod.in_use("redis_app_password") == before) is (operation == "begin")
    setup(project, None)
    assert not list(project.secrets_dir.glob(".rotation*"))


def test_journal_is_readable_by_its_owner_only(prod: Stack) -> None:
    prod.docker.on("exec", "db", code=2, stderr="gone")
    rotation_journal.begin(prod.project, require_account(prod.project, "postgres_app"))
    folder = rotation_journal.folder(prod.project)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        f"{name}.{kind}": 0o600 for name in ("postgres_app_user", "postgres_app_password") for kind in ("old", "new")
    }


def test_ctrl_c_reports_the_command_that_continues(prod: Stack) -> None:
    prod.docker.answer("compose", "up", by=KeyboardInterrupt())
    with pytest.raises(ToolkitError, match="the rotation of postgres_app is unfinished: interrupted") as caught:
        prod.rotate("postgres_app")
    assert (caught.value.code, caught.value.fix) == (130, "run: invoke secrets.rotate --name=postgres_app")
    prod.docker.answer("compose", "up", by=prod._up)
    prod.rotate("postgres_app")


def test_unfinished_rotation_is_completed_first(prod: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    staged = rotation_journal.begin(prod.project, require_account(prod.project, "redis_app_password"))
    before = prod.in_use("postgres_password")
    prod.rotate("postgres_password")
    assert prod.in_use("redis_app_password") == staged.after
    assert prod.in_use("postgres_password") != before
    shown = capsys.readouterr().out
    assert shown.index("rotate redis_app_password") < shown.index("rotate postgres_password")


def test_rejected_current_password_is_not_rotated(prod: Stack) -> None:
    prod.book.stored["redis"]["netmon"].clear()
    before = prod.in_use("redis_app_password")
    with pytest.raises(ToolkitError, match="redis rejects the current credential"):
        prod.rotate("redis_app_password")
    assert prod.in_use("redis_app_password") == before
    assert rotation_journal.read(prod.project) is None


def test_server_that_rejects_the_new_credential_is_an_error(prod: Stack) -> None:
    before = prod.in_use("rabbitmq_app")
    prod.docker.on("exec", "rabbitmq", "bash", stdout='HTTP/1.1 200 OK\r\n\r\n{"tags": []}')
    with pytest.raises(ToolkitError, match="rabbitmq does not accept the new credential: refused"):
        prod.rotate("rabbitmq_app")
    assert prod.in_use("rabbitmq_app") == before


def test_server_that_accepts_the_old_credential_is_an_error(prod: Stack) -> None:
    prod.docker.on("exec", "kafka", "--entity-name=netmon_a")
    with pytest.raises(ToolkitError, match="kafka still accepts the old credential") as caught:
        prod.rotate("kafka_app")
    assert caught.value.fix == "run: invoke secrets.rotate --name=kafka_app"


def test_stopped_services_are_skipped_by_name(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    del stack.engine.containers[next(name for name in stack.engine.containers if name.startswith("grafana"))]
    before = stack.in_use("grafana_admin_password"), stack.in_use("kafka_app")
    stack.rotate()
    shown = capsys.readouterr().out
    assert "grafana_admin_password: skipped, grafana is not running" in shown
    assert ("kafka_app: skipped, kafka requires no login in this profile" in shown) is (stack.profile == "dev")
    assert stack.in_use("grafana_admin_password") == before[0]
    assert (stack.in_use("kafka_app") == before[1]) is (stack.profile == "dev")
    with pytest.raises(ToolkitError, match="cannot rotate grafana_admin_password: grafana is not running"):
        stack.rotate("grafana_admin_password")


def test_unconfirmed_rotation_changes_nothing(prod: Stack) -> None:
    before = prod.in_use("redis_password")
    with pytest.raises(ToolkitError, match="confirmation required to replace redis_password"):
        prod.rotate("redis_password", yes=False)
    assert prod.in_use("redis_password") == before


def test_credentials_are_never_printed(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    stack.rotate()
    shown = capsys.readouterr()
    values = {value for value in credentials.read(stack.project).values() if len(value) > 20}
    assert not any(value in shown.out + shown.err for value in values)
    assert json.dumps(sorted(values)) not in shown.out
