"""Grants and revokes credentials in each service.

Every operation runs the service's own tool in its own container with the password on standard input: no password is in
an argument, an environment or another container. Every operation is idempotent.
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
from toolkit.checks.logins import login_error
from toolkit.core import files
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Docker
from toolkit.operate import rolling

TIMEOUT_SECONDS = 60.0
"""Timeout of one tool: some start a JVM, perhaps on a busy host."""

OVERLAP_SECONDS = 3.0
"""Seconds for a client that has read the old token to send its request."""


@dataclass(frozen=True)
class Server(ABC):
    """A running service that requires passwords, and the rotation of one of them.

    ``timeout`` in seconds, for a recreated container to become healthy. A service that ``reads_itself`` reads the
    credential's file: a login shows whether it has, and its clients are unknown here.
    """

    project: Project
    docker: Docker
    staged: StagedRotation
    timeout: float
    service: ClassVar[str]
    reads_itself: ClassVar[bool] = False

    @abstractmethod
    def grant(self) -> None:
        """Accept the new credential beside the old one, or instead if a user can have only one password."""

    def install(self) -> None:
        """Write the new credential to the files."""
        rotation_journal.install(self.project, self.staged)

    @abstractmethod
    def revoke(self) -> None:
        """Reject the old credential, and close its connections."""

    @property
    def _other_user(self) -> str:
        """The user to revoke; empty if only the password changes."""
        return self.staged.old.user if self.staged.old.user != self.staged.new.user else ""

    def _run(self, doing: str, *command: str, stdin: str = "") -> str:
        result = self.docker.exec(self.service, *command, stdin=stdin, timeout=TIMEOUT_SECONDS)
        return self.docker.check(result, doing).stdout


class Postgres(Server):
    """Two alternating roles; the superuser has one password."""

    service = "db"

    def grant(self) -> None:
        """See `Server`. The server gets a SCRAM verifier computed here, never the password itself."""
        new = self.staged.new
        self._sql(
            f"set the password of {new.user}", f"ALTER ROLE {new.user} LOGIN PASSWORD '{verifier(new.password)}';"
        )

    def revoke(self) -> None:
        """See `Server`. Connections over the socket used no password and are kept."""
        old = self.staged.old.user
        end = (
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{old}' "  # noqa: S608
            "AND backend_type = 'client backend' AND client_addr IS NOT NULL;"
        )
        refuse = [f"ALTER ROLE {old} NOLOGIN PASSWORD NULL;"] if self._other_user else []
        self._sql(f"revoke the login of {old}", *refuse, end)

    def _sql(self, doing: str, *statements: str) -> None:
        psql = ("psql", "--username=postgres", "--dbname=network_monitor", "--no-psqlrc", "--quiet", "--tuples-only",
                "--set=ON_ERROR_STOP=1")  # fmt: skip
        self._run(doing, *psql, stdin="\n".join(statements) + "\n")


class Redis(Server):
    """A user has any number of passwords; the server gets their hashes."""

    service = "redis"

    def grant(self) -> None:
        """See `Server`."""
        self._commands(f"ACL SETUSER {self.staged.new.user} #{_hash(self.staged.new.password)}")

    def revoke(self) -> None:
        """See `Server`. Connections older than the new file used the old password."""
        new = self.staged.new
        age = math.ceil(time.time() - rotation_journal.installed_at(self.project, self.staged).timestamp())
        self._commands(
            f"ACL SETUSER {new.user} resetpass #{_hash(new.password)}",
            f"CLIENT KILL USER {new.user} MAXAGE {age} SKIPME yes",
        )

    def _commands(self, *commands: str) -> None:
        old, new = self.staged.old, self.staged.new
        admin = self.project.secrets["redis_password"]
        passwords = [credentials.load(self.project, admin)]
        if new.user == admin.user:
            # One of the two logins may fail; a later failure keeps the connection authenticated.
            passwords = [old.password, new.password]
        logins = [f"AUTH {admin.user} {password}" for password in passwords]
        doing = f"change the passwords of {new.user}"
        output = self._run(doing, "redis-cli", stdin="\n".join([*logins, *commands]) + "\n").splitlines()
        for answer in [line for line in output if line.strip()][len(logins) :]:
            if answer != "OK" and not answer.isdigit():
                raise ToolkitError(f"cannot {doing}", f"redis: {answer}", "run: invoke secrets.check")


class RabbitMQ(Server):
    """Two alternating users; the administrator and monitoring have one password each."""

    service = "rabbitmq"

    def grant(self) -> None:
        """See `Server`."""
        self._set_hash(self.staged.new.user, _rabbitmq_hash(self.staged.new.password))

    def revoke(self) -> None:
        """See `Server`. A user without a hash cannot log in."""
        if self._other_user:
            self._set_hash(self._other_user, "")
        old = self.staged.old.user
        self._call_api(f"close the connections of {old}", "DELETE", f"/api/connections/username/{old}")

    def _set_hash(self, user: str, password_hash: str) -> None:
        doing, path = f"change the password of {user}", f"/api/users/{user}"
        tags = ",".join(json.loads(self._call_api(doing, "GET", path))["tags"])
        hashed = {"password_hash": password_hash, "hashing_algorithm": "rabbit_password_hashing_sha256"}
        self._call_api(doing, "PUT", path, json.dumps({"tags": tags, **hashed}))

    def _call_api(self, doing: str, method: str, path: str, body: str = "") -> str:
        """The body of the management API's response to the administrator."""
        admin = self.project.secrets["rabbitmq_password"]
        passwords = [credentials.load(self.project, admin)]
        if self.staged.new.user == admin.user:
            passwords = [self.staged.old.password, self.staged.new.password]
        status = ""
        for password in passwords:
            login = base64.b64encode(f"{admin.user}:{password}".encode()).decode()
            lines = [f"{method} {path} HTTP/1.0", f"Authorization: Basic {login}", "Content-Type: application/json",
                     f"Content-Length: {len(body)}", "", body]  # fmt: skip
            connect = 'exec 3<>"/dev/tcp/$(hostname)/15672" && cat >&3 && exec cat <&3'
            answer = self._run(doing, "bash", "-c", connect, stdin="\r\n".join(lines))
            head, _, response_body = answer.replace("\r\n", "\n").partition("\n\n")
            status = head.partition("\n")[0]
            if re.match(r"HTTP/\S+ 2", status):
                return response_body
        raise ToolkitError(f"cannot {doing}", f"rabbitmq: {status}", "run: invoke secrets.check")


class Kafka(Server):
    """Two alternating users; monitoring has one password. Open connections stay until their clients close them."""

    service = "kafka"

    def grant(self) -> None:
        """See `Server`."""
        self._set(self.staged.new.user, self.staged.new.password)

    def revoke(self) -> None:
        """See `Server`. Sets an unknown password: deleting a missing one would be an error."""
        if self._other_user:
            self._set(self._other_user, secrets.token_hex(32))

    def _set(self, user: str, password: str) -> None:
        command = (
            # The JVM settings in the container's environment are the broker's, too large for a tool.
            "env", "KAFKA_HEAP_OPTS=-Xmx128m", "KAFKA_JVM_PERFORMANCE_OPTS=-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
            "/opt/kafka/bin/kafka-configs.sh", "--bootstrap-server=localhost:29091", "--alter", "--entity-type=users",
            f"--entity-name={user}", "--add-config-file=/dev/stdin",
        )  # fmt: skip
        self._run(f"set the password of {user}", *command, stdin=f"SCRAM-SHA-512=password={password}\n")


class Grafana(Server):
    """One administrator, one password. Browser sessions stay until revoked on Grafana's user page."""

    service = "grafana"

    def grant(self) -> None:
        """See `Server`."""
        reset = ("grafana", "cli", "admin", "reset-admin-password", "--password-from-stdin")
        self._run("set the password of Grafana's administrator", *reset, stdin=self.staged.new.password)

    def revoke(self) -> None:
        """See `Server`. Setting the new password has already revoked the old one."""


class Application(Server):
    """Any number of tokens; each replica reads the file on every authentication.

    Without the secrets layer there is one token, in the environment: a replica with the new one rejects the old one.
    """

    service, reads_itself = "app", True

    def grant(self) -> None:
        """See `Server`. Clients use the first line, which changes once every replica accepts the second."""
        old, new = self.staged.old.password, self.staged.new.password
        if not self._in_file:
            rotation_journal.install(self.project, self.staged)
        elif credentials.first_line(self.project, self.staged.account.name) != new:
            self._write(old, new)
        if login_error(self.docker, self.service, "", new):
            # The environment has the old token, or the mounted file was replaced.
            rolling.replace(self.project, self.docker, self.service, timeout=self.timeout)

    def install(self) -> None:
        """See `Server`."""
        if self._in_file:
            self._write(self.staged.new.password, self.staged.old.password)

    def revoke(self) -> None:
        """See `Server`."""
        if self._in_file:
            time.sleep(OVERLAP_SECONDS)
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
    """PostgreSQL's verifier of a password (RFC 5803, SCRAM-SHA-256), useless for a login."""
    salt, iterations = secrets.token_bytes(16), 4096
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    stored, server = hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256")
    shown = [base64.b64encode(each).decode() for each in (salt, stored, server)]
    return f"SCRAM-SHA-256${iterations}:{shown[0]}${shown[1]}:{shown[2]}"


def _rabbitmq_hash(password: str) -> str:
    """RabbitMQ's hash of a password: a salt of 4 bytes and the SHA-256 of salt and password."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _hash(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()
