"""A fake engine with state: commands create, stop and remove its containers."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.unit.toolkit.conftest import FakeDocker
from tests.unit.toolkit.containers import container
from toolkit.engine.compose import Result

FINE = Result(0, "", "")


@dataclass
class Engine:
    """A fake of Docker and Compose for one project.

    ``tags`` maps image names to ids. ``sick`` decides by service and image whether a new container stays unhealthy.
    ``log`` has every container that was created, stopped and removed, in order.
    """

    docker: FakeDocker
    services: dict[str, dict[str, Any]]
    tags: dict[str, str] = field(default_factory=dict)
    sick: Callable[[str, str], bool] = lambda _service, _image: False
    containers: dict[str, dict[str, Any]] = field(default_factory=dict)
    oneoffs: dict[str, dict[str, Any]] = field(default_factory=dict)
    stopped: str = "exited"
    """The status of a container after `docker stop`; ``running`` while it drains."""
    migration: Result = FINE
    log: list[str] = field(default_factory=list)
    serving: list[int] = field(default_factory=list)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        answers: dict[tuple[str, ...], Callable[[list[str]], Result]] = {
            ("compose", "config"): self._config,
            ("compose", "up"): self._up,
            ("compose", "run"): self._run,
            ("compose", "build"): self._build,
            ("docker", "ps"): lambda _: Result(0, "\n".join(self.containers), ""),
            ("docker", "container", "inspect"): self._inspect,
            ("docker", "update"): self._update,
            ("docker", "stop"): self._stop,
            ("docker", "rm"): self._remove,
            ("docker", "logs"): self._logs,
            ("docker", "image", "inspect"): self._image,
            ("docker", "tag"): self._tag,
            ("docker", "context", "show"): lambda _: Result(0, "default\n", ""),
            ("docker", "version"): lambda _: Result(0, "amd64\n", ""),
        }
        for words, by in answers.items():
            self.docker.answer(*words, by=by)

    def release(self) -> str:
        """The release as Compose reads it: the environment takes precedence over .env."""
        for given in self.docker.environments[-1:]:
            if release := given.get("NETMON_RELEASE"):
                return release
        path = self.docker.cli.root / ".env"
        lines = path.read_text().splitlines() if path.exists() else []
        return next((line.partition("=")[2] for line in lines if line.startswith("NETMON_RELEASE=")), "dev")

    def configuration(self) -> dict[str, Any]:
        """The effective configuration."""
        image = f"network-monitor:{self.release()}"
        services = {
            name: {"image": image, "build": {"context": "/app"}, **spec} for name, spec in self.services.items()
        }
        return {"name": "network-monitor", "services": services}

    def start(self, service: str, **more: Any) -> str:
        """Create a container and return its id."""
        number = next(self._numbers)
        name = self.configuration()["services"][service]["image"]
        image = self.tags.setdefault(name, f"id-of-{name}")
        health = "unhealthy" if self.sick(service, image) else "healthy"
        checks = [(-60.0, 1, "no")] if health == "unhealthy" else []
        made = container(service, health=health, number=number, id=f"{service}-{number}", checks=checks, **more)
        made["Image"], made["Config"]["Image"] = image, name
        made["State"]["Running"] = made["State"]["Status"] == "running"
        self.containers[made["Id"]] = made
        return str(made["Id"])

    def of(self, service: str) -> list[str]:
        """The images of the service's containers."""
        return [each["Image"] for name, each in self.containers.items() if name.startswith(f"{service}-")]

    def _config(self, argv: list[str]) -> Result:
        config = self.configuration()
        if "*" not in argv:
            config["services"] = {name: each for name, each in config["services"].items() if "profiles" not in each}
        return Result(0, json.dumps(config), "")

    def _up(self, argv: list[str]) -> Result:
        service = argv[-1]
        present = [name for name in self.containers if name.startswith(f"{service}-")]
        replicas = int(argv[argv.index("--scale") + 1].partition("=")[2]) if "--scale" in argv else len(present)
        if "--force-recreate" in argv:
            for name in present:
                self._remove([name])
            present = []
        for _ in range(replicas - len(present)):
            self.log.append(f"created {self.start(service)}")
        return FINE

    def _run(self, argv: list[str]) -> Result:
        name = argv[argv.index("--name") + 1]
        self.log.append(f"ran {' '.join(argv[argv.index('--name') + 2 :])} of {self.release()}")
        if "migrate" in argv:
            return self.migration
        before = dict(self.containers)
        self.oneoffs[name] = self.containers.pop(self.start(argv[-1]))
        assert self.containers == before
        return FINE

    def _build(self, argv: list[str]) -> Result:
        name = self.configuration()["services"][argv[-1]]["image"]
        self.tags[name] = f"id-of-{name}"
        self.log.append(f"built {name}")
        return FINE

    def _inspect(self, argv: list[str]) -> Result:
        here = self.containers | self.oneoffs
        found = [here[name] for name in argv[3:] if name in here]
        return Result(0, json.dumps(found), "")

    def _logs(self, argv: list[str]) -> Result:
        if argv[-1].endswith("-migrate"):
            return Result(0, self.migration.stderr, "")
        return Result(0, f"2026-01-01T00:00:00Z log of {argv[-1]}\n", "")

    def _update(self, argv: list[str]) -> Result:
        self.containers[argv[-1]]["HostConfig"]["RestartPolicy"]["Name"] = argv[2].removeprefix("--restart=")
        return FINE

    def _stop(self, argv: list[str]) -> Result:
        self.log.append(f"stopped {argv[-1]}")
        service = argv[-1].rpartition("-")[0]
        running = [each for name, each in self.containers.items() if name.startswith(f"{service}-")]
        self.serving.append(sum(each["State"]["Health"]["Status"] == "healthy" for each in running) - 1)
        self.containers[argv[-1]]["State"] |= {"Status": self.stopped, "Running": self.stopped == "running"}
        return FINE

    def _remove(self, argv: list[str]) -> Result:
        if self.oneoffs.pop(argv[-1], None):
            self.log.append(f"removed {argv[-1]}")
        if self.containers.pop(argv[-1], None):
            self.log.append(f"removed {argv[-1]}")
        return FINE

    def _image(self, argv: list[str]) -> Result:
        if all(name in self.tags for name in argv[3:] if not name.startswith(("-", "{"))):
            return Result(0, self.tags.get(argv[-1], ""), "")
        return Result(1, "", "Error: No such image")

    def _tag(self, argv: list[str]) -> Result:
        self.tags[argv[-1]] = argv[-2]
        return FINE
