"""Test logins with a password, in the service's own container and with the password on standard input.

So no password is in another container, an argument list or an environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.checkout import credentials, setup
from toolkit.checkout.project import Project, Secret
from toolkit.checks.masking import MASK
from toolkit.engine.compose import Docker, Result
from toolkit.engine.health import container_states

TIMEOUT_SECONDS = 30.0
"""Timeout of one login: Kafka's and RabbitMQ's tools start a virtual machine, perhaps on a busy host."""


@dataclass(frozen=True)
class Login:
    """A login command, its standard input, and the command that applies a changed password to the service.

    ``{user}`` is replaced everywhere, ``{password}`` in ``stdin``. Success is the exit code 0, and ``expected_output``
    as the last line, if set. With ``requires_secrets_layer`` the service requires a login only with the secrets layer;
    with ``own_app`` only if the application is this platform's own. ``per_replica``: every replica is tested.
    """

    command: tuple[str, ...]
    stdin: str
    apply: str
    expected_output: str = ""
    requires_secrets_layer: bool = False
    own_app: bool = False
    per_replica: bool = False


RECREATE = "docker compose up --detach --force-recreate"

LOGINS = {
    "db": Login(
        ("psql", "--username=postgres", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"),
        # Over the network: the image trusts connections over the socket, such as the first one.
        '\\connect "host=db user={user} password={password} dbname=network_monitor connect_timeout=5"\n',
        f"{RECREATE} db, then: docker compose exec db /opt/netmon/postgres-accounts.sh",
    ),
    "redis": Login(("redis-cli",), "AUTH {user} {password}\nPING\n", f"{RECREATE} redis", expected_output="PONG"),
    "rabbitmq": Login(("/opt/netmon/rabbitmq-login.sh", "{user}"), "{password}\n", f"{RECREATE} rabbitmq"),
    "kafka": Login(
        # The heap size in the container's environment is the broker's.
        ("env", "KAFKA_HEAP_OPTS=-Xmx128m", "/opt/kafka/bin/kafka-topics.sh", "--bootstrap-server=kafka:29092",
         "--command-config=/dev/stdin", "--list"),
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-512\n"
        "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required "
        'username="{user}" password="{password}";\n',
        f"{RECREATE} kafka",
        requires_secrets_layer=True,
    ),
    "grafana": Login(
        # Values are separate words: most versions of curl do not support "=".
        ("curl", "--config", "-", "--silent", "--show-error", "--fail", "--location", "--output", "/dev/null",
         "http://127.0.0.1:3000/api/org"),
        'user = "{user}:{password}"\n',
        "docker compose exec --no-TTY grafana grafana cli admin reset-admin-password --password-from-stdin"
        " <secrets/grafana_admin_password.txt",
    ),
    "app": Login(
        ("python", "-"),
        "import http.client\n"
        "api = http.client.HTTPConnection('127.0.0.1', 3000, timeout=5)\n"
        "api.request('GET', '/api/access', headers={{'Authorization': 'Bearer {password}'}})\n"
        "print('status', api.getresponse().status)\n",
        f"{RECREATE} app",
        expected_output="status 204",
        own_app=True,
        per_replica=True,
    ),
}  # fmt: skip


def skip_reason(project: Project, docker: Docker, service: str) -> str:
    """Why a service requires no credential here; empty if it does.

    Raises:
        ToolkitError: the configuration cannot be read.
    """
    login = LOGINS[service]
    if login.requires_secrets_layer and not (project.profile and setup.uses_secret_files(project, project.profile)):
        return f"{service} requires no login in this profile"
    if login.own_app and is_external_app(docker.effective(every_group=True)["services"]):
        return f"{service} is another application and requires no token"
    return ""


def is_external_app(services: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether ``app`` is another application, by the configuration with every group."""
    app, own = services["app"], services["smoke"]
    contexts = [(service.get("build") or {}).get("context") for service in (app, own)]
    return bool(app["image"] != own["image"] or contexts[0] != contexts[1])


def secret_error(project: Project, docker: Docker, secret: Secret) -> str:
    """The login error of a password's running service; empty if the login succeeds.

    Raises:
        ToolkitError: a credential is invalid, or the login timed out.
    """
    return login_error(docker, secret.service, credentials.user_of(project, secret), credentials.load(project, secret))


def login_error(docker: Docker, service: str, user: str, password: str) -> str:
    """The first login error of a running service's replicas; empty if every login succeeds.

    Raises:
        ToolkitError: the login timed out.
    """
    return next(filter(None, login_errors(docker, service, user, password)), "")


def login_errors(docker: Docker, service: str, user: str, password: str) -> list[str]:
    """The login error (empty: none) of each replica with ``per_replica``, else of the service.

    Raises:
        ToolkitError: the login timed out.
    """
    login = LOGINS[service]
    command = [word.format(user=user) for word in login.command]
    stdin = login.stdin.format(user=user, password=password)
    if not login.per_replica:
        result = docker.exec(service, *command, stdin=stdin, timeout=TIMEOUT_SECONDS)
        return [_error(login, password, result)]
    running = [state.id for state in container_states(docker) if state.service == service and state.status == "running"]
    if not running:
        return [f"{service} is not running"]
    return [
        _error(
            login, password, docker("exec", "--interactive", container, *command, stdin=stdin, timeout=TIMEOUT_SECONDS)
        )
        for container in running
    ]


def _error(login: Login, password: str, result: Result) -> str:
    lines = [" ".join(line.split()) for line in f"{result.stdout}\n{result.stderr}".splitlines() if line.strip()]
    last_line = lines[-1].replace(password, MASK) if lines else f"exit code {result.code}"
    accepted = result.code == 0 and (not login.expected_output or last_line == login.expected_output)
    return "" if accepted else last_line
