"""A fake engine with some images and volumes, and a registry with one scripted result for every pull."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from typing import Any

from tests.unit.toolkit.conftest import FakeDocker, configuration
from toolkit.core import envfile
from toolkit.engine.compose import Result
from toolkit.engine.timeouts import TimedOutError

APP, POSTGRES, REDIS = "network-monitor:dev", "docker.io/library/postgres:18", "docker.io/library/redis:8"
LOCAL_APP, LOCAL_POSTGRES, LOCAL_REDIS = "netmon-local/app:dev", "netmon-local/postgres:18", "netmon-local/redis:8"
PUBLISHED = configuration(
    app={"image": APP, "build": {}}, worker={"image": APP, "build": {}}, db={"image": POSTGRES}, redis={"image": REDIS}
)
BUILT = configuration(
    app={"image": LOCAL_APP, "build": {}},
    worker={"image": LOCAL_APP, "build": {}},
    db={"image": LOCAL_POSTGRES, "build": {}},
    redis={"image": LOCAL_REDIS, "build": {}},
)
NO_HOST = Result(1, "", "Error response from daemon: dial tcp: lookup registry: no such host")


@dataclass
class Engine:
    """An engine with some images and volumes; ``registry`` is the result of every pull."""

    docker: FakeDocker
    images: set[str] = field(default_factory=set)
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    contexts: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str | None] = field(default_factory=dict)
    volumes: str = ""
    registry: Result | TimedOutError = NO_HOST

    def __post_init__(self) -> None:
        self.docker.answer("config", by=self._config)
        self.docker.answer("image", "inspect", by=self._inspect)
        self.docker.answer("pull", by=self._pull)
        self.docker.answer("compose", "build", by=self._build)
        self.docker.answer("volume", "ls", by=lambda _: Result(0, self.volumes, ""))
        self.docker.on("pip", code=1)
        self.docker.on("context", "show", stdout="default\n")
        self.docker.on("version", "--format", stdout="amd64\n")
        self.docker.on(str(self.docker.cli.root / "scripts" / "base-image.sh"))

    def _config(self, _argv: list[str]) -> Result:
        return Result(0, json.dumps({"name": "network-monitor", "services": self._services()}), "")

    def _services(self) -> dict[str, Any]:
        """The services of the files in use, with the build contexts and arguments of the test."""
        services = copy.deepcopy(BUILT if "images/compose.yml" in self._files() else PUBLISHED)["services"]
        for name, context in self.contexts.items():
            services[name]["build"] = {"context": context}
        if self.arguments:
            services["app"]["build"]["args"] = self.arguments
        return dict(services)

    def _files(self) -> str:
        """The compose files in use; the environment takes precedence over .env."""
        settings = envfile.read(self.docker.cli.root / ".env")
        return self.docker.environments[-1].get("COMPOSE_FILE") or settings.get("COMPOSE_FILE", "")

    def _inspect(self, argv: list[str]) -> Result:
        about = {"Size": 100, "Created": "2026-01-02T03:04:05Z"}
        found = [
            {**about, "RepoTags": [name], "Config": {"Labels": self.labels.get(name)}}
            for name in argv[3:]
            if name in self.images
        ]
        missing = [f"Error response from daemon: No such image: {name}" for name in argv[3:] if name not in self.images]
        return Result(1 if missing else 0, json.dumps(found), "\n".join(missing))

    def _pull(self, argv: list[str]) -> Result:
        if isinstance(self.registry, TimedOutError):
            raise self.registry
        if self.registry.code == 0:
            self.images.add(argv[-1])
        return self.registry

    def _build(self, argv: list[str]) -> Result:
        image = self._services()[argv[-1]]["image"]
        self.images.add(image)
        added = json.loads((self.docker.cli.root / self._files().split(":")[-1]).read_text())["services"]
        self.labels[image] = added[argv[-1]]["build"]["labels"]
        return Result(0, "", "")
