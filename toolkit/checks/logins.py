"""Whether a password still opens its service: tried in the service's own container, and given to a program's input.

So no container sees a password that it has no use for, and none is in an argument list or an environment.
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

TIMEOUT = 30.0
"""Seconds for one login: Kafka's and RabbitMQ's tools start a machine of their own, on a host that may be busy."""


@dataclass(frozen=True)
class Login:
    """A command that logs in, what it reads, and how the service is made to take another password.

    ``{user}`` is filled in everywhere, ``{password}`` in what the command reads. Where ``welcome`` is empty, its exit
    code tells whether it was let in; else what it prints last. ``open_without`` the secrets layer: nobody logs in then.
    ``ours``: another application in the place of ours asks for nothing. ``replicas`` are tried one by one.
    """

    command: tuple[str, ...]
    reads: str
    take: str
    welcome: str = ""
    open_without: bool = False
    ours: bool = False
    replicas: bool = False


RECREATE = "docker compose up --detach --force-recreate"

LOGINS = {
    "db": Login(
        ("psql", "--username=postgres", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"),
        # Over the network: the image trusts whoever comes over the socket, as the first connection does.
        '\\connect "host=db user={user} password={password} dbname=network_monitor connect_timeout=5"\n',
        f"{RECREATE} db, then: docker compose exec db /opt/netmon/postgres-accounts.sh",
    ),
    "redis": Login(("redis-cli",), "AUTH {user} {password}\nPING\n", f"{RECREATE} redis", welcome="PONG"),
    "rabbitmq": Login(("/opt/netmon/rabbitmq-login.sh", "{user}"), "{password}\n", f"{RECREATE} rabbitmq"),
    "kafka": Login(
        # The heap that the container's environment asks for is the broker's.
        ("env", "KAFKA_HEAP_OPTS=-Xmx128m", "/opt/kafka/bin/kafka-topics.sh", "--bootstrap-server=kafka:29092",
         "--command-config=/dev/stdin", "--list"),
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-512\n"
        "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required "
        'username="{user}" password="{password}";\n',
        f"{RECREATE} kafka",
        open_without=True,
    ),
    "grafana": Login(
        # A value is a word of its own: most versions of curl know no "=".
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
        welcome="status 204",
        ours=True,
        replicas=True,
    ),
}  # fmt: skip


def unasked(project: Project, docker: Docker, service: str) -> str:
    """Why a service asks nobody for a credential here; empty where it does.

    Raises:
        ToolkitError: the configuration cannot be read.
    """
    login = LOGINS[service]
    if login.open_without and not (project.profile and setup.uses_secret_files(project, project.profile)):
        return f"{service} asks nobody for it in this profile"
    if login.ours and is_foreign(docker.effective(every_group=True)["services"]):
        return f"{service} is another application than ours, which asks nobody for it"
    return ""


def is_foreign(services: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether another application stands in the place of ours, by the configuration of every group."""
    app, ours = services["app"], services["smoke"]
    contexts = [(service.get("build") or {}).get("context") for service in (app, ours)]
    return bool(app["image"] != ours["image"] or contexts[0] != contexts[1])


def refusal(project: Project, docker: Docker, secret: Secret) -> str:
    """Why the running service of a password does not let its user in; empty where it does.

    Raises:
        ToolkitError: a credential cannot be used, or the service did not answer in time.
    """
    return attempt(docker, secret.service, credentials.user_of(project, secret), credentials.load(project, secret))


def attempt(docker: Docker, service: str, user: str, password: str) -> str:
    """Why a running service does not let a user in with a password; empty where it does, every replica of it.

    Raises:
        ToolkitError: the service did not answer in time.
    """
    return next(filter(None, attempts(docker, service, user, password)), "")


def attempts(docker: Docker, service: str, user: str, password: str) -> list[str]:
    """What `attempt` says, of each replica where they are tried one by one.

    Raises:
        ToolkitError: the service did not answer in time.
    """
    login = LOGINS[service]
    command = [word.format(user=user) for word in login.command]
    reads = login.reads.format(user=user, password=password)
    if not login.replicas:
        result = docker.compose("exec", "--no-TTY", service, *command, stdin=reads, timeout=TIMEOUT)
        return [_refused(login, password, result)]
    running = [state.id for state in container_states(docker) if state.service == service and state.status == "running"]
    if not running:
        return [f"{service} does not run"]
    return [
        _refused(login, password, docker("exec", "--interactive", container, *command, stdin=reads, timeout=TIMEOUT))
        for container in running
    ]


def _refused(login: Login, password: str, result: Result) -> str:
    lines = [" ".join(line.split()) for line in f"{result.stdout}\n{result.stderr}".splitlines() if line.strip()]
    said = lines[-1].replace(password, MASK) if lines else f"exit code {result.code}"
    let_in = result.code == 0 and (not login.welcome or said == login.welcome)
    return "" if let_in else said
