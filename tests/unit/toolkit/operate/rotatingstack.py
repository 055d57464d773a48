"""A fake stack for rotations: services with their accounts, containers with the credentials that they have read."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.unit.toolkit.conftest import FakeDocker
from tests.unit.toolkit.operate.accountbook import AccountBook
from tests.unit.toolkit.operate.fake_engine import Engine
from toolkit.checkout import credentials
from toolkit.checkout.accounts import Account, accounts, require_account
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.engine.compose import Result
from toolkit.operate.rotation.rotate import rotate

SERVERS = ("db", "redis", "rabbitmq", "kafka", "grafana", "app")
CLIENTS = {
    "worker": ("postgres_app", "redis_app", "rabbitmq_app", "kafka_app"),
    "app": ("postgres_app", "redis_app", "rabbitmq_app", "kafka_app"),
    "postgres-exporter": ("postgres_monitoring",),
    "redis-exporter": ("redis_monitoring",),
    "kafka-exporter": ("kafka_monitoring",),
}


class Stack:
    """A running stack with all its credentials."""

    def __init__(self, project: Project, docker: FakeDocker, profile: str) -> None:
        setup(project, profile, images="local")
        self.project, self.docker, self.profile = project, docker, profile
        self.book = AccountBook(docker)
        self.book.tokens = self._tokens
        self.engine = Engine(docker, {name: self._spec(name) for name in dict.fromkeys((*CLIENTS, *SERVERS))})
        for name in self.engine.services:
            self.start(name)
        self.engine.services["smoke"] = {"profiles": ["tools"]}
        docker.answer("compose", "up", by=self._up)
        docker.answer("compose", "config", by=self._config)
        for account in accounts(project):
            current = account.credential(account.current_values(project))
            if account.service != "app":
                self.book.add(account.service, current.user, current.password)
        self.engine.log.clear()

    def rotate(self, name: str = "", **options: Any) -> None:
        rotate(self.project, self.docker.cli, name, **{"timeout": 1, "yes": True, **options})

    def start(self, service: str) -> None:
        made = self.engine.containers[self.engine.start(service)]
        made["State"]["StartedAt"] = datetime.now(UTC).isoformat()
        made["Config"]["Env"] = [f"{k}={v}" for k, v in self._environment(service).items()]
        made["read"] = credentials.read(self.project)
        made["mounted"] = str(credentials.path_of(self.project, "api_token"))

    def in_use(self, name: str) -> dict[str, str]:
        return require_account(self.project, name).current_values(self.project)

    def accepts(self, account: Account, values: dict[str, str]) -> bool:
        """Whether any container of the service accepts the credential."""
        credential = account.credential(values)
        if account.service == "app":
            return any(credential.password in self._tokens(name) for name in self._api())
        return self.book.accepts(account.service, credential.user, credential.password)

    def accepts_every_client(self, account: Account) -> bool:
        """Whether the credentials that each client read at its start are accepted."""
        read = [each["read"] for service, uses in CLIENTS.items() for name, each in self.engine.containers.items()
                if name.startswith(f"{service}-") and account.name.removesuffix("_password") in uses]  # fmt: skip
        return all(self.accepts(account, {key.lower(): value for key, value in each.items()}) for each in read)

    def every_replica_accepts(self, token: str) -> bool:
        return all(token in self._tokens(name) for name in self._api())

    def _api(self) -> list[str]:
        return [name for name in self.engine.containers if name.startswith("app-")]

    def _tokens(self, container: str) -> set[str]:
        """The tokens that a container accepts: the lines of its mounted file, or the token of its environment."""
        made = self.engine.containers[container]
        if self.profile == "prod":
            return set(Path(made["mounted"]).read_text().split())
        return {made["read"]["API_TOKEN"]}

    def _spec(self, service: str) -> dict[str, Any]:
        used = [secret.name for secret in self.project.secrets.values() if self._has(service, secret.name)]
        image = {} if service in {"app", "worker"} else {"image": f"{service}:1"}
        if self.profile == "prod":
            return image | {"secrets": [{"source": name, "target": name} for name in used]}
        return image | {"environment": self._environment(service)}

    def _has(self, service: str, secret: str) -> bool:
        own = {
            each.name for account in accounts(self.project) if account.service == service for each in account.secrets
        }
        return secret in own or secret.startswith(CLIENTS.get(service, ("-",)))

    def _environment(self, service: str) -> dict[str, str]:
        if self.profile == "prod":
            return {}
        env = self.project.env
        return {each.variable: env[each.variable] for each in self.project.secrets.values()
                if self._has(service, each.name) and each.variable in env}  # fmt: skip

    def _config(self, argv: list[str]) -> Result:
        services = {name: self._spec(name) for name in self.engine.services if name != "smoke"}
        self.engine.services = services | {"smoke": self.engine.services["smoke"]}
        return self.engine._config(argv)

    def _up(self, argv: list[str]) -> Result:
        service = argv[-1]
        before = set(self.engine.containers)
        for name in [name for name in before if name.startswith(f"{service}-") and "--force-recreate" in argv]:
            del self.engine.containers[name]
        time.sleep(0.002)  # files and containers are distinguished by their times
        self.start(service)
        [made] = set(self.engine.containers) - before
        self.engine.log.append(f"created {made}")
        return Result(0, "", "")
