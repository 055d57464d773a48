"""Services that know users and passwords, as the tools in their containers read and change them."""

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

FINE, NO = Result(0, "", ""), Result(1, "", "refused")


@dataclass
class AccountBook:
    """Who is let in where: service → user → passwords, PostgreSQL's as verifiers and Redis' as hashes."""

    docker: FakeDocker
    known: dict[str, dict[str, set[str]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(set)))
    ended: list[str] = field(default_factory=list)
    tokens: Callable[[str], set[str]] = lambda _container: set()
    """Those that a container of the application accepts."""

    def __post_init__(self) -> None:
        self.docker.answer("compose", "exec", by=lambda argv: self.tool(argv[4], argv[5:], self.docker.inputs[-1]))
        self.docker.answer("exec", "--interactive", by=lambda argv: self._api(argv[3], self.docker.inputs[-1]))

    def lets_in(self, service: str, user: str, password: str) -> bool:
        """Whether a login works."""
        known = self.known[service][user]
        match service:
            case "db":
                return any(_verifies(each, password) for each in known)
            case "redis":
                return hashlib.sha256(password.encode()).hexdigest() in known
            case "rabbitmq":
                return any(_salted(base64.b64decode(each)[:4], password) == each for each in known)
            case _:
                return password in known

    def add(self, service: str, user: str, password: str) -> None:
        """An account from before."""
        match service:
            case "db":
                kept = _verifier(password)
            case "redis":
                kept = hashlib.sha256(password.encode()).hexdigest()
            case "rabbitmq":
                kept = _salted(b"salt", password)
            case _:
                kept = password
        self.known[service][user] = {kept}

    def tool(self, service: str, command: list[str], given: str) -> Result:
        """What a program in the service's container does with its input."""
        if command[0] == "sh":
            return FINE  # the mounted file is the one of the host
        return {"db": self._psql, "redis": self._redis_cli, "rabbitmq": self._rabbitmq, "kafka": self._kafka,
                "grafana": self._grafana}[service](command, given)  # fmt: skip

    def _api(self, container: str, given: str) -> Result:
        [shown] = re.findall(r"Bearer ([\w-]+)", given)
        return Result(0, f"status {204 if shown in self.tokens(container) else 401}\n", "")

    def _psql(self, _command: list[str], given: str) -> Result:
        if login := re.search(r"user=(\S+) password=(\S+)", given):
            return FINE if self.lets_in("db", *login.groups()) else NO
        for user, rest in re.findall(r"ALTER ROLE (\w+) (.*);", given):
            verifier = re.fullmatch(r"LOGIN PASSWORD '(.*)'", rest)
            self.known["db"][user] = {verifier[1]} if verifier else set()
        self.ended += re.findall(r"usename = '(\w+)'", given)
        return FINE

    def _redis_cli(self, _command: list[str], given: str) -> Result:
        answers, in_as = [], ""
        for line in given.splitlines():
            word, *rest = line.split()
            if word == "AUTH":
                right = self.lets_in("redis", *rest)
                in_as = rest[0] if right else in_as
                answers.append("OK" if right else "WRONGPASS invalid username-password pair or user is disabled.")
            elif not in_as or (word != "PING" and in_as != "admin"):
                answers.append("NOAUTH Authentication required.")
            elif word == "ACL":
                user, *rules = rest[1:]
                for rule in rules:
                    self.known["redis"][user] = set() if rule == "resetpass" else self.known["redis"][user] | {rule[1:]}
                answers.append("OK")
            elif word == "CLIENT":
                self.ended.append(rest[2])
                answers.append("1")
            else:
                answers.append("PONG")
        return Result(0, "\n".join(answers) + "\n", "")

    def _rabbitmq(self, command: list[str], given: str) -> Result:
        if command[0] == "/opt/netmon/rabbitmq-login.sh":
            return FINE if self.lets_in("rabbitmq", command[1], given.removesuffix("\n")) else NO
        head, _, body = given.partition("\r\n\r\n")
        method, path, _ = head.split(" ", 2)
        [login] = re.findall(r"Basic (\S+)", head)
        if not self.lets_in("rabbitmq", *base64.b64decode(login).decode().split(":")):
            return Result(0, "HTTP/1.1 401 Unauthorized\r\n\r\n{}", "")
        user = path.rpartition("/")[2]
        if method == "DELETE":
            self.ended.append(user)
        elif method == "PUT":
            self.known["rabbitmq"][user] = {json.loads(body)["password_hash"]} - {""}
        return Result(0, 'HTTP/1.1 200 OK\r\n\r\n{"tags": ["monitoring"]}', "")

    def _kafka(self, command: list[str], given: str) -> Result:
        if login := re.search(r'username="(\w+)" password="(.*)"', given):
            return FINE if self.lets_in("kafka", *login.groups()) else NO
        [user] = [word.partition("=")[2] for word in command if word.startswith("--entity-name=")]
        self.known["kafka"][user] = {given.strip().removeprefix("SCRAM-SHA-512=password=")}
        return FINE

    def _grafana(self, command: list[str], given: str) -> Result:
        if command[0] == "curl":
            user, _, password = given.strip().removeprefix('user = "').removesuffix('"').partition(":")
            return FINE if self.lets_in("grafana", user, password) else NO
        assert command == ["grafana", "cli", "admin", "reset-admin-password", "--password-from-stdin"]
        self.known["grafana"]["admin"] = {given}
        return FINE


def _salted(salt: bytes, password: str) -> str:
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _verifier(password: str, salt: bytes = b"salt", iterations: int = 1) -> str:
    """By the formula of RFC 5802: written down a second time, not taken from what is tested."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.new(salted, b"Client Key", "sha256").digest()).digest()
    server = hmac.new(salted, b"Server Key", "sha256").digest()
    shown = [base64.b64encode(each).decode() for each in (salt, stored, server)]
    return f"SCRAM-SHA-256${iterations}:{shown[0]}${shown[1]}:{shown[2]}"


def _verifies(verifier: str, password: str) -> bool:
    _, parameters, _ = verifier.split("$")
    iterations, _, salt = parameters.partition(":")
    return verifier == _verifier(password, base64.b64decode(salt), int(iterations))
