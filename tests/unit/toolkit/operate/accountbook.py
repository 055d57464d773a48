"""Fake services with users and passwords, as the tools in their containers read and change them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.unit.toolkit.conftest import FakeDocker
from toolkit.engine.compose import Result

ACCEPTED, REFUSED = Result(0, "", ""), Result(1, "", "refused")


@dataclass
class AccountBook:
    """The accounts: service → user → passwords, PostgreSQL's as verifiers, Redis' and RabbitMQ's as hashes."""

    docker: FakeDocker
    stored: dict[str, dict[str, set[str]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(set)))
    disconnected: list[str] = field(default_factory=list)
    tokens: Callable[[str], set[str]] = lambda _container: set()
    """The API tokens that a container of the application accepts."""

    def __post_init__(self) -> None:
        self.docker.answer("exec", by=lambda argv: self._in_container(argv[3], argv[4:], self.docker.inputs[-1]))

    def accepts(self, service: str, user: str, password: str) -> bool:
        """Whether a login succeeds."""
        stored = self.stored[service][user]
        match service:
            case "db":
                return any(_verifies(each, password) for each in stored)
            case "redis":
                return hashlib.sha256(password.encode()).hexdigest() in stored
            case "rabbitmq":
                return any(_salted(base64.b64decode(each)[:4], password) == each for each in stored)
            case _:
                return password in stored

    def add(self, service: str, user: str, password: str) -> None:
        """Add an existing account."""
        match service:
            case "db":
                secret = _verifier(password)
            case "redis":
                secret = hashlib.sha256(password.encode()).hexdigest()
            case "rabbitmq":
                secret = _salted(b"salt", password)
            case _:
                secret = password
        self.stored[service][user] = {secret}

    def _in_container(self, container: str, command: list[str], given: str) -> Result:
        if command[0] == "python":
            return self._api(container, given)
        return self.tool(container, command, given)

    def tool(self, service: str, command: list[str], given: str) -> Result:
        """The result of a program in the service's container for its input."""
        if command[0] == "sh":
            return ACCEPTED  # the mounted file is the host's
        return {"db": self._psql, "redis": self._redis_cli, "rabbitmq": self._rabbitmq, "kafka": self._kafka,
                "grafana": self._grafana}[service](command, given)  # fmt: skip

    def _api(self, container: str, given: str) -> Result:
        [token] = re.findall(r"Bearer ([\w-]+)", given)
        return Result(0, f"status {204 if token in self.tokens(container) else 401}\n", "")

    def _psql(self, _command: list[str], given: str) -> Result:
        if login := re.search(r"user=(\S+) password=(\S+)", given):
            return ACCEPTED if self.accepts("db", *login.groups()) else REFUSED
        for user, rest in re.findall(r"ALTER ROLE (\w+) (.*);", given):
            verifier = re.fullmatch(r"LOGIN PASSWORD '(.*)'", rest)
            self.stored["db"][user] = {verifier[1]} if verifier else set()
        self.disconnected += re.findall(r"usename = '(\w+)'", given)
        return ACCEPTED

    def _redis_cli(self, _command: list[str], given: str) -> Result:
        answers, user = [], ""
        for line in given.splitlines():
            word, *rest = line.split()
            if word == "AUTH":
                accepted = self.accepts("redis", *rest)
                user = rest[0] if accepted else user
                answers.append("OK" if accepted else "WRONGPASS invalid username-password pair or user is disabled.")
            elif not user or (word != "PING" and user != "admin"):
                answers.append("NOAUTH Authentication required.")
            elif word == "ACL":
                changed, *rules = rest[1:]
                for rule in rules:
                    old = set() if rule == "resetpass" else self.stored["redis"][changed] | {rule[1:]}
                    self.stored["redis"][changed] = old
                answers.append("OK")
            elif word == "CLIENT":
                self.disconnected.append(rest[2])
                answers.append("1")
            else:
                answers.append("PONG")
        return Result(0, "\n".join(answers) + "\n", "")

    def _rabbitmq(self, command: list[str], given: str) -> Result:
        if command[0] == "/opt/netmon/rabbitmq-login.sh":
            return ACCEPTED if self.accepts("rabbitmq", command[1], given.removesuffix("\n")) else REFUSED
        head, _, body = given.partition("\r\n\r\n")
        method, path, _ = head.split(" ", 2)
        [login] = re.findall(r"Basic (\S+)", head)
        if not self.accepts("rabbitmq", *base64.b64decode(login).decode().split(":")):
            return Result(0, "HTTP/1.1 401 Unauthorized\r\n\r\n{}", "")
        user = path.rpartition("/")[2]
        if method == "DELETE":
            self.disconnected.append(user)
        elif method == "PUT":
            self.stored["rabbitmq"][user] = {json.loads(body)["password_hash"]} - {""}
        return Result(0, 'HTTP/1.1 200 OK\r\n\r\n{"tags": ["monitoring"]}', "")

    def _kafka(self, command: list[str], given: str) -> Result:
        if login := re.search(r'username="(\w+)" password="(.*)"', given):
            return ACCEPTED if self.accepts("kafka", *login.groups()) else REFUSED
        [user] = [word.partition("=")[2] for word in command if word.startswith("--entity-name=")]
        self.stored["kafka"][user] = {given.strip().removeprefix("SCRAM-SHA-512=password=")}
        return ACCEPTED

    def _grafana(self, command: list[str], given: str) -> Result:
        if command[0] == "curl":
            user, _, password = given.strip().removeprefix('user = "').removesuffix('"').partition(":")
            return ACCEPTED if self.accepts("grafana", user, password) else REFUSED
        assert command == ["grafana", "cli", "admin", "reset-admin-password", "--password-from-stdin"]
        self.stored["grafana"]["admin"] = {given}
        return ACCEPTED


def _salted(salt: bytes, password: str) -> str:
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _verifier(password: str, salt: bytes = b"salt", iterations: int = 1) -> str:
    """The formula of RFC 5802, independent of the code under test."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.new(salted, b"Client Key", "sha256").digest()).digest()
    server = hmac.new(salted, b"Server Key", "sha256").digest()
    encoded = [base64.b64encode(each).decode() for each in (salt, stored, server)]
    return f"SCRAM-SHA-256${iterations}:{encoded[0]}${encoded[1]}:{encoded[2]}"


def _verifies(verifier: str, password: str) -> bool:
    _, parameters, _ = verifier.split("$")
    iterations, _, salt = parameters.partition(":")
    return verifier == _verifier(password, base64.b64decode(salt), int(iterations))
