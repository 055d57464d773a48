"""The masked configuration, and the logs."""

from __future__ import annotations

import pytest
import yaml

from tests.unit.toolkit.conftest import FakeDocker, configuration
from toolkit.checkout import credentials
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.checks.masking import MASK, mask, masked_config
from toolkit.core.errors import ToolkitError
from toolkit.engine.logs import logs


def test_only_secrets_are_masked(project: Project, docker: FakeDocker) -> None:
    setup(project, "dev")
    secrets = credentials.read(project)
    users = {secrets.pop(secret.variable) for secret in project.secrets.values() if secret.users}
    password = secrets["REDIS_PASSWORD"]
    app = {
        "environment": {
            "REDIS_URL": f"redis://:{password}@redis:6379/0",
            "NOTE": f"the password is {password}",
            "REDIS_PASSWORD": password,
            "POSTGRES_PASSWORD_FILE": "/run/secrets/postgres_password",
            "DATABASE_USER": "netmon_a",
            "LOG_LEVEL": "info",
            "EMPTY": None,
        },
        "command": ["serve", f"--password={password}"],
        "init": True,
    }
    docker.on("compose", "config", stdout=configuration(app=app))
    output = masked_config(project, docker.cli)
    assert not any(secret in output for secret in secrets.values())
    environment = yaml.safe_load(output)["services"]["app"]["environment"]
    assert environment["REDIS_URL"] == f"redis://:{MASK}@redis:6379/0"
    assert environment["POSTGRES_PASSWORD_FILE"] == "/run/secrets/postgres_password"
    assert environment["LOG_LEVEL"] == "info"
    assert environment["DATABASE_USER"] in users, "users are not secret"
    assert list(environment) == list(app["environment"])  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("GF_SECURITY_ADMIN_PASSWORD", "hunter2", MASK),
        ("SLACK_TOKEN", "xoxb", MASK),
        ("API_KEY", "k", MASK),
        ("POSTGRES_PASSWORD", "unused", "unused"),
        ("REDIS_PASSWORD_FILE", "/run/secrets/x", "/run/secrets/x"),
        ("EXTRA_URL", "amqp://me:pw@host/", f"amqp://me:{MASK}@host/"),
        ("PLAIN_URL", "http://host:80/a@b", "http://host:80/a@b"),
        ("DATABASE_URL", "postgresql://postgres@db:5432/x", "postgresql://postgres@db:5432/x"),
    ],
)
def test_unknown_secrets_are_masked_by_name_and_in_urls(name: str, value: str, shown: str) -> None:
    assert mask({name: value}, set()) == {name: shown}


def test_secret_inside_a_longer_one_is_masked() -> None:
    assert mask("abcdef", {"abc", "abcdef"}) == MASK


def test_logs_pass_their_options_to_compose(docker: FakeDocker) -> None:
    docker.on("compose", "config", stdout=configuration(db={}, redis={}))
    docker.on("compose", "logs")
    logs(docker.cli, ["db"], follow=True, tail=5, since="10m")
    assert docker.calls[-1] == [
        "docker",
        "compose",
        "--profile",
        "*",
        "logs",
        "--follow",
        "--tail=5",
        "--since=10m",
        "db",
    ]
    logs(docker.cli)
    assert docker.calls[-1][-1] == "logs"


def test_logs_of_an_unknown_service_are_refused(docker: FakeDocker) -> None:
    docker.on("compose", "config", stdout=configuration(db={}, redis={}))
    with pytest.raises(ToolkitError, match="unknown service 'datenbank': known: db, redis") as raised:
        logs(docker.cli, ["datenbank"])
    assert raised.value.code == 2


def test_logs_report_the_error_of_docker(docker: FakeDocker) -> None:
    docker.on("compose", "config", stdout=configuration(db={}))
    docker.on("compose", "logs", code=1)
    with pytest.raises(ToolkitError, match="cannot show the logs"):
        logs(docker.cli)


def test_ctrl_c_ends_following(docker: FakeDocker) -> None:
    docker.on("compose", "config", stdout=configuration(db={}))
    docker.answer("compose", "logs", by=KeyboardInterrupt())
    logs(docker.cli, follow=True)
