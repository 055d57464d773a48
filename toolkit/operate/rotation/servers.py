"""How each service is made to take another credential, and to refuse the one before.

Everything is done in the service's own container by its own tool, which reads from its standard input: no password is
in an argument, in an environment or in another container. Every operation can be repeated.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import re
import secrets
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from toolkit.checkout import credentials, rotation_journal, setup
from toolkit.checkout.project import Project
from toolkit.checkout.rotation_journal import StagedRotation
from toolkit.checks.logins import attempt
from toolkit.core import files
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Docker
from toolkit.operate import rolling

TIMEOUT = 60.0
"""Seconds for one tool: some start a machine of their own, on a host that may be busy."""

OVERLAP = 3.0
"""Seconds in which a client that has read the old token sends its request."""


@dataclass(frozen=True)
class Server(ABC):
    """A running service that asks for passwords, and the rotation of one of them.

    ``timeout`` in seconds, for a container that is made anew. Where the service ``reads_itself`` what the file says, a
    login shows whether it has, and who its clients are is not known here.
    """

    project: Project
    docker: Docker
    staged: StagedRotation
    timeout: float
    service: ClassVar[str]
    reads_itself: ClassVar[bool] = False

    @abstractmethod
    def grant(self) -> None:
        """Let the new credential in beside the old one; in its place where a user can have one password only."""

    def install(self) -> None:
        """Let the files say the new one to whoever reads them from now on."""
        rotation_journal.install(self.project, self.staged)

    @abstractmethod
    def revoke(self) -> None:
        """Refuse the old one, and end what it has opened."""

    @property
    def _other_user(self) -> str:
        """The user who is to be refused; empty where the user stays and the password alone changes."""
        return self.staged.old.user if self.staged.old.user != self.staged.new.user else ""

    def _run(self, doing: str, *command: str, stdin: str = "") -> str:
        result = self.docker.compose("exec", "--no-TTY", self.service, *command, stdin=stdin, timeout=TIMEOUT)
        return self.docker.check(result, doing).stdout


class Postgres(Server):
    """Two roles in turn; the superuser has one password."""

    service = "db"

    def grant(self) -> None:
        """See `Server`. The password itself does not even reach the server: it keeps a verifier, made here."""
        new = self.staged.new
        self._sql(f"give {new.user} its password", f"ALTER ROLE {new.user} LOGIN PASSWORD '{verifier(new.password)}';")

    def revoke(self) -> None:
        """See `Server`. Whoever came over the socket has shown no password, and stays."""
        old = self.staged.old.user
        end = (
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{old}' "  # noqa: S608
            "AND backend_type = 'client backend' AND client_addr IS NOT NULL;"
        )
        refuse = [f"ALTER ROLE {old} NOLOGIN PASSWORD NULL;"] if self._other_user else []
        self._sql(f"take its login from {old}", *refuse, end)

    def _sql(self, doing: str, *statements: str) -> None:
        psql = ("psql", "--username=postgres", "--dbname=network_monitor", "--no-psqlrc", "--quiet", "--tuples-only",
                "--set=ON_ERROR_STOP=1")  # fmt: skip
        self._run(doing, *psql, stdin="\n".join(statements) + "\n")


class Redis(Server):
    """A user has any number of passwords; the server is told their hashes."""

    service = "redis"

    def grant(self) -> None:
        """See `Server`."""
        self._commands(f"ACL SETUSER {self.staged.new.user} #{_hash(self.staged.new.password)}")

    def revoke(self) -> None:
        """See `Server`. Connections that are older than the new file were opened with the old password."""
        new = self.staged.new
        age = math.ceil(time.time() - rotation_journal.installed_at(self.project, self.staged).timestamp())
        self._commands(
            f"ACL SETUSER {new.user} resetpass #{_hash(new.password)}",
            f"CLIENT KILL USER {new.user} MAXAGE {age} SKIPME yes",
        )

    def _commands(self, *commands: str) -> None:
        old, new = self.staged.old, self.staged.new
        admin = self.project.secrets["redis_password"]
        known = [credentials.load(self.project, admin)]
        if new.user == admin.user:
            # One of them may be refused; a connection that is logged in stays so.
            known = [old.password, new.password]
        logins = [f"AUTH {admin.user} {password}" for password in known]
        doing = f"change the passwords of {new.user}"
        said = self._run(doing, "redis-cli", stdin="\n".join([*logins, *commands]) + "\n").splitlines()
        for answer in [line for line in said if line.strip()][len(logins) :]:
            if answer != "OK" and not answer.isdigit():
                raise ToolkitError(f"cannot {doing}", f"redis: {answer}", "run: invoke secrets.check")


class RabbitMQ(Server):
    """Two users in turn; the administrator and monitoring have one password each."""

    service = "rabbitmq"

    def grant(self) -> None:
        """See `Server`."""
        self._set_hash(self.staged.new.user, _rabbitmq_hash(self.staged.new.password))

    def revoke(self) -> None:
        """See `Server`. Without a hash no password is the right one."""
        if self._other_user:
            self._set_hash(self._other_user, "")
        old = self.staged.old.user
        self._ask(f"close the connections of {old}", "DELETE", f"/api/connections/username/{old}")

    def _set_hash(self, user: str, password_hash: str) -> None:
        doing, path = f"change the password of {user}", f"/api/users/{user}"
        tags = ",".join(json.loads(self._ask(doing, "GET", path))["tags"])
        hashed = {"password_hash": password_hash, "hashing_algorithm": "rabbit_password_hashing_sha256"}
        self._ask(doing, "PUT", path, json.dumps({"tags": tags, **hashed}))

    def _ask(self, doing: str, method: str, path: str, body: str = "") -> str:
        """The body of what the management API answers the administrator."""
        admin = self.project.secrets["rabbitmq_password"]
        known = [credentials.load(self.project, admin)]
        if self.staged.new.user == admin.user:
            known = [self.staged.old.password, self.staged.new.password]
        status = ""
        for password in known:
            login = base64.b64encode(f"{admin.user}:{password}".encode()).decode()
            lines = [f"{method} {path} HTTP/1.0", f"Authorization: Basic {login}", "Content-Type: application/json",
                     f"Content-Length: {len(body)}", "", body]  # fmt: skip
            connect = 'exec 3<>"/dev/tcp/$(hostname)/15672" && cat >&3 && exec cat <&3'
            answer = self._run(doing, "bash", "-c", connect, stdin="\r\n".join(lines))
            head, _, answered = answer.replace("\r\n", "\n").partition("\n\n")
            status = head.partition("\n")[0]
            if re.match(r"HTTP/\S+ 2", status):
                return answered
        raise ToolkitError(f"cannot {doing}", f"rabbitmq: {status}", "run: invoke secrets.check")


class Kafka(Server):
    """Two users in turn; monitoring has one password. A connection that is open stays so until its client closes it."""

    service = "kafka"

    def grant(self) -> None:
        """See `Server`."""
        self._set(self.staged.new.user, self.staged.new.password)

    def revoke(self) -> None:
        """See `Server`. A password that nobody knows: to delete one that is gone already would be an error."""
        if self._other_user:
            self._set(self._other_user, secrets.token_hex(32))

    def _set(self, user: str, password: str) -> None:
        command = (
            # The settings of the container's environment are the broker's, too large for a tool.
            "env", "KAFKA_HEAP_OPTS=-Xmx128m", "KAFKA_JVM_PERFORMANCE_OPTS=-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
            "/opt/kafka/bin/kafka-configs.sh", "--bootstrap-server=localhost:29091", "--alter", "--entity-type=users",
            f"--entity-name={user}", "--add-config-file=/dev/stdin",
        )  # fmt: skip
        self._run(f"set the password of {user}", *command, stdin=f"SCRAM-SHA-512=password={password}\n")


class Grafana(Server):
    """One administrator, one password. Sessions in browsers stay; Grafana's page of the user ends them."""

    service = "grafana"

    def grant(self) -> None:
        """See `Server`."""
        reset = ("grafana", "cli", "admin", "reset-admin-password", "--password-from-stdin")
        self._run("set the password of Grafana's administrator", *reset, stdin=self.staged.new.password)

    def revoke(self) -> None:
        """See `Server`: it was refused from the moment on when the new one was set."""


class Application(Server):
    """Any number of tokens, which each replica reads from the file whenever it is shown one.

    Without the secrets layer there is one, in the environment: a replica with the new one does not know the old one.
    """

    service, reads_itself = "app", True

    def grant(self) -> None:
        """See `Server`. Clients use the first line: it changes once every replica knows the second."""
        old, new = self.staged.old.password, self.staged.new.password
        if not self._in_file:
            rotation_journal.install(self.project, self.staged)
        elif credentials.first_line(self.project, self.staged.account.name) != new:
            self._write(old, new)
        if attempt(self.docker, self.service, "", new):
            # In its environment is the old one, or what it has mounted is no longer the file.
            rolling.replace(self.project, self.docker, self.service, timeout=self.timeout)

    def install(self) -> None:
        """See `Server`."""
        if self._in_file:
            self._write(self.staged.new.password, self.staged.old.password)

    def revoke(self) -> None:
        """See `Server`."""
        if self._in_file:
            time.sleep(OVERLAP)
            rotation_journal.install(self.project, self.staged)

    @property
    def _in_file(self) -> bool:
        return setup.uses_secret_files(self.project, self.project.require_setup())

    def _write(self, *tokens: str) -> None:
        files.overwrite(credentials.path_of(self.project, self.staged.account.name), "\n".join(tokens))


SERVERS: dict[str, type[Server]] = {
    each.service: each for each in (Postgres, Redis, RabbitMQ, Kafka, Grafana, Application)
}


def verifier(password: str) -> str:
    """What PostgreSQL keeps of a password (RFC 5803, SCRAM-SHA-256); it does not let anybody in."""
    salt, iterations = secrets.token_bytes(16), 4096
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    stored, server = hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256")
    shown = [base64.b64encode(each).decode() for each in (salt, stored, server)]
    return f"SCRAM-SHA-256${iterations}:{shown[0]}${shown[1]}:{shown[2]}"


def _rabbitmq_hash(password: str) -> str:
    """A salt of 4 bytes and the SHA-256 of salt and password, as RabbitMQ keeps them."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _hash(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()
