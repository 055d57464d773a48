"""A separate checkout for each test, and a fake docker with scripted results."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from toolkit.checkout.project import Project
from toolkit.engine import compose, shapes
from toolkit.engine.compose import Docker, Result
from toolkit.images import registry

CHECKOUT = Path(__file__).resolve().parents[3]

INFO: dict[str, Any] = {
    "ServerVersion": "28.5.2", "MemTotal": 8_000_000_000, "DockerRootDir": "/", "MemoryLimit": True,
    "CpuCfsQuota": True, "PidsLimit": True, "CgroupVersion": "2",
    "ClientInfo": {"Plugins": [{"Name": "compose", "Version": "2.40.3"}, {"Name": "buildx", "Version": "v0.29.1"}]},
}  # fmt: skip
"""The output of `docker info` on a suitable host."""

Answer = Result | BaseException | Callable[[list[str]], Result]


@dataclass
class FakeDocker:
    """A fake of `toolkit.engine.compose.run`, with scripted results and a record of the commands.

    ``cli`` is the `Docker` to pass to functions under test.
    """

    cli: Docker
    calls: list[list[str]] = field(default_factory=list)
    environments: list[Mapping[str, str | None]] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    options: list[dict[str, Any]] = field(default_factory=list)
    stopped: set[str] = field(default_factory=set)
    """The services without a running container; that of every other one has the name of its service as its id."""
    _script: list[tuple[tuple[str, ...], Answer]] = field(default_factory=list)

    def on(self, *words: str, stdout: object = "", stderr: str = "", code: int = 0) -> None:
        """Script the result of commands that contain ``words`` in this order; the latest match takes precedence.

        A ``stdout`` that is not text is encoded as JSON.
        """
        self.answer(*words, by=Result(code, stdout if isinstance(stdout, str) else json.dumps(stdout), stderr))

    def answer(self, *words: str, by: Answer) -> None:
        """Like `on`, with a result, an exception to raise, or a function of the argument list."""
        self.cli._queries.clear()
        self._script.insert(0, (words, by))

    @staticmethod
    def result(stdout: object) -> Result:
        """The result of a successful command that printed a JSON document."""
        return Result(0, json.dumps(stdout), "")

    def ran(self, *words: str) -> list[list[str]]:
        """The recorded commands that contain ``words`` in this order."""
        return [argv for argv in self.calls if _contains(argv, words)]

    def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str | None] | None = None,
        stdin: str = "",
        **options: Any,
    ) -> Result:
        if list(argv[:2]) == ["docker", "ps"] and "status=running" in argv:
            return self._container(argv)
        self.calls.append(list(argv))
        self.environments.append(env or {})
        self.inputs.append(stdin)
        self.options.append(options)
        for words, by in self._script:
            if not _contains(argv, words):
                continue
            if isinstance(by, BaseException):
                raise by
            result = by if isinstance(by, Result) else by(list(argv))
            if watch := options.get("watch"):
                for line in result.stdout.splitlines():
                    watch(line)
            return result
        pytest.fail(f"no result is scripted for: {' '.join(argv)}")

    def _container(self, argv: Sequence[str]) -> Result:
        """The container of the service of `Docker.exec`; this query is not recorded."""
        prefix = "label=com.docker.compose.service="
        service = next(word.removeprefix(prefix) for word in argv if word.startswith(prefix))
        return Result(0, "" if service in self.stopped else f"{service}\n", "")


def _contains(argv: Sequence[str], words: Sequence[str]) -> bool:
    rest = iter(argv)
    return all(word in rest for word in words)


@pytest.fixture(autouse=True)
def _no_settings_from_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("COMPOSE_", "NETMON_", "POSTGRES_", "REDIS_", "RABBITMQ_", "BIND_", "API_TOKEN")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of these tests need not survive a power failure."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture(autouse=True)
def _no_registry_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests to registries fail; tests with a registry of their own restore `_send`."""

    def refuse(*_: object, **__: object) -> None:
        raise registry.RegistryError("no response")

    monkeypatch.setattr(registry.Registries, "_send", refuse)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A checkout before its setup: invoke.yaml and the compose files."""
    root = tmp_path / "checkout"
    (root / "images").mkdir(parents=True)
    layers = (*CHECKOUT.glob("docker-compose*.yml"), *CHECKOUT.glob("images/compose*.yml"))
    for path in (CHECKOUT / "invoke.yaml", *layers):
        if path.name != "docker-compose.override.yml":
            shutil.copy(path, root / path.relative_to(CHECKOUT))
    return Project.load(root)


@pytest.fixture
def docker(project: Project, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    """A fake docker on which every command has to be scripted, except the configuration and the events: both empty."""
    fake = FakeDocker(Docker(project.root))
    fake.on("events")
    fake.on("compose", "config", stdout=configuration())
    monkeypatch.setattr(compose, "run", fake)
    return fake


def copy_checkout(root: Path) -> Path:
    """Copy the files that a clone of this working tree would have; returns the new folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if (CHECKOUT / name).is_file():
            shutil.copy2(CHECKOUT / name, root / name)
    return root


def configuration(**services: Any) -> shapes.Configuration:
    """The output of `docker compose config --format json` for these services."""
    return {"name": "network-monitor", "services": services}
