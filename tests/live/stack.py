"""A stack for live tests: a copy of the checkout with a project name, ports and volumes of its own."""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import requests

from toolkit.checkout.project import LOCAL, PULLED, Project
from toolkit.checkout.variables import variables_used
from toolkit.checks.proxy import ROOT, Proxy
from toolkit.engine.health import HEALTH_URL

T = TypeVar("T")

CHECKOUT = Path(__file__).resolve().parents[2]
PORTS = tuple(name for name in variables_used(Project.load(CHECKOUT)) if name.endswith("_PORT"))


WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
"""This process as a worker of xdist: gw0, gw1, … or empty. Each has projects and ports of its own."""
PORTS_PER_WORKER = 4_000
IMAGES = {"": "auto", "local": "local", "pulled": "pull"}[os.environ.get("NETMON_TEST_IMAGES", "")]
"""The option ``--images`` of every stack, set by NETMON_TEST_IMAGES; by default that of users."""
IMAGE_TASKS = ("up", "images.prepare")
"""The tasks that take this option."""
REGISTRIES = ("REGISTRY", "REGISTRY_QUAY")
"""Environment variables that become settings of a stack: the registries of the published images."""

CORE = frozenset({"app", "worker", "db", "redis", "kafka", "rabbitmq"})
"""The services of every stack."""
MONITORING = frozenset({"prometheus", "alertmanager", "otel-collector"})
"""Further services of every stack with monitoring, whichever images it uses."""
STORES = {"logs": ("loki", "victorialogs"), "traces": ("tempo", "jaeger")}
"""The possible stores of a kind of signal, in order of preference."""


def free_ports(count: int) -> list[int]:
    """Unused ports of the loopback interface, from this worker's range.

    The range has no ephemeral ports: a port that is free now is free when a container binds it.
    """
    first = 10_000 + PORTS_PER_WORKER * int(WORKER.removeprefix("gw") or 0)
    found: list[int] = []
    for port in random.sample(range(first, first + PORTS_PER_WORKER), PORTS_PER_WORKER):
        if len(found) == count:
            break
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found


def copy_checkout(target: Path) -> None:
    """Copy the files that a clone of this working tree would have: tracked ones, and new ones that are not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        source = CHECKOUT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


@dataclass
class Stack:
    """A checkout with a project, ports and volumes of its own. ``settings`` become lines of its .env."""

    root: Path
    name: str
    settings: dict[str, str] = field(default_factory=dict)
    up_output: str = ""
    """The output of the first `up`, if the fixture has stored it."""
    _stores: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def create(cls, root: Path, name: str, **settings: str) -> Stack:
        """Copy the checkout to ``root`` and remove the remains of a killed run of the same name.

        The project's name contains that of the checkout's folder: stacks of other checkouts are not touched.
        """
        own = re.sub(r"[^a-z0-9]", "", CHECKOUT.name.lower())
        name = "-".join(filter(None, (name, own, WORKER)))
        copy_checkout(root)
        ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
        registries = {key: os.environ[key] for key in REGISTRIES if os.environ.get(key)}
        stack = cls(root, name, {"COMPOSE_PROJECT_NAME": name, **registries, **ports, **settings})
        (root / ".env").write_text("".join(f"{key}={value}\n" for key, value in stack.settings.items()))
        stack.destroy()
        return stack

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every command, without settings of the developer's own stack."""
        prefixes = (
            "COMPOSE_", "NETMON_", "POSTGRES_", "REDIS_", "RABBITMQ_", "GRAFANA_", "PROXY_", "DOMAIN", "API_TOKEN",
            *REGISTRIES,
        )  # fmt: skip
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(prefixes)}
        return {**inherited, "NO_COLOR": "1", "COLUMNS": "200"}

    def run(self, *argv: str, timeout: float = 600, check: bool = True, env: dict[str, str] | None = None,
            text: str = "") -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run a command in the copy; with ``check``, an exit code other than 0 fails the test with the output.

        ``text`` is its standard input, which is empty by default.
        """
        done = subprocess.run(argv, cwd=self.root, env={**self.environment, **(env or {})}, input=text,
                              capture_output=True, text=True, timeout=timeout, check=False)  # fmt: skip
        assert not check or done.returncode == 0, f"{argv} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def invoke(self, *args: str, timeout: float = 600, check: bool = True,
               env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run an Invoke task of the copy."""
        return self.run(*self.invoke_argv(*args), timeout=timeout, check=check, env=env)

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start an Invoke task of the copy in a process group of its own, so that a test can interrupt it."""
        return subprocess.Popen(
            # Background jobs of a shell ignore SIGINT, and so do their child processes.
            ["env", "--default-signal=INT", *self.invoke_argv(*args)],
            cwd=self.root,
            env=self.environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @staticmethod
    def invoke_argv(*args: str) -> list[str]:
        """The command line of an Invoke task, with the option ``--images`` of all tests where the task takes it."""
        option = (
            [f"--images={IMAGES}"] if args[0] in IMAGE_TASKS and not any("--images" in each for each in args) else []
        )
        return [sys.executable, "-m", "invoke", *args, *option]

    def docker(self, *args: str, timeout: float = 300, check: bool = True) -> str:
        """The standard output of a docker command."""
        return self.run("docker", *args, timeout=timeout, check=check).stdout

    def compose(self, *args: str, timeout: float = 300, check: bool = True) -> str:
        """The standard output of a plain docker compose command in the copy."""
        return self.docker("compose", *args, timeout=timeout, check=check)

    def exec(self, service: str, *command: str, text: str = "", timeout: float = 300, check: bool = True) -> str:
        """The standard output of a command in the service's container; ``text`` is its standard input.

        Without a look at the configuration: `docker compose exec` reads all of it for each command.
        """
        # A deploy and a rotation replace these two, and the numbers in their containers' names change.
        container = self.containers(service)[0] if service in {"app", "worker"} else f"{self.name}-{service}-1"
        options = ("--interactive", container) if text else (container,)
        return self.run("docker", "exec", *options, *command, timeout=timeout, check=check, text=text).stdout

    def control(self, command: str, *services: str, signal: str = "") -> None:
        """Run `docker stop`, `start`, `restart`, `kill`, `pause` or `unpause` for the containers of some services.

        `docker compose` would read the configuration, and wait for dependencies when it starts them.
        """
        options = (f"--signal={signal}",) if signal else ()
        self.docker(command, *options, *(each for service in services for each in self.containers(service)))

    def container(self, service: str) -> dict[str, Any]:
        """``docker inspect`` of the only container of a service."""
        ids = self.containers(service)
        assert len(ids) == 1, f"{service} has {len(ids)} containers"
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", ids[0]))
        return found[0]

    def containers(self, service: str = "") -> list[str]:
        """The ids of the project's containers, or of a service's containers, in any state."""
        return self._listed("{{.ID}}", *([f"com.docker.compose.service={service}"] if service else []))

    def services(self) -> set[str]:
        """The services that have a container, in any state."""
        return set(self._listed('{{.Label "com.docker.compose.service"}}'))

    def unhealthy(self) -> set[str]:
        """The services with a container that does not run, or whose health check does not pass."""
        form = '{{.Label "com.docker.compose.service"}} {{.State}} {{.Status}}'
        lines = self._listed(form)
        return {line.split()[0] for line in lines if " running " not in line or "health: " in line or "(unh" in line}

    def _listed(self, form: str, *labels: str) -> list[str]:
        """A line for each of the project's containers that has these labels; `docker compose` would take longer."""
        labels = (f"com.docker.compose.project={self.name}", "com.docker.compose.oneoff=False", *labels)
        filters = [word for label in labels for word in ("--filter", f"label={label}")]
        return self.docker("ps", "--all", "--format", form, *filters).splitlines()

    def configuration(self, *groups: str) -> dict[str, dict[str, Any]]:
        """The services of the effective configuration, with further groups (Compose profiles) enabled."""
        profiles = [word for group in groups for word in ("--profile", group)]
        services: dict[str, dict[str, Any]] = json.loads(self.compose(*profiles, "config", "--format=json"))["services"]
        assert services.keys() >= CORE, f"the configuration lacks {', '.join(sorted(CORE - services.keys()))}"
        return services

    def configured(self) -> frozenset[str]:
        """The services that should run: those of the enabled groups, except services with 0 replicas.

        With monitoring these include Prometheus, Alertmanager, the collector and a store of each kind of signal.
        """
        services = self.configuration()
        found = {name for name, spec in services.items() if (spec.get("deploy") or {}).get("replicas") != 0}
        if found & MONITORING:
            assert found >= MONITORING, f"monitoring lacks {', '.join(sorted(MONITORING - found))}"
            assert all(found.intersection(stores) for stores in STORES.values()), (
                f"a kind of signal has no store in {found}"
            )
        return frozenset(found)

    def unavailable(self) -> frozenset[str]:
        """The services that the images in use lack, by the Compose profile that is never enabled."""
        mark = Project.load(self.root).data["absent"]
        found = {name for name, spec in self.configuration("*").items() if spec.get("profiles") == [mark]}
        assert bool(found) == (self.images == LOCAL), f"the {self.images} images lack {found or 'nothing'}"
        return frozenset(found)

    @property
    def images(self) -> str:
        """The image set in use, as recorded in .env: local or pulled."""
        recorded = Project.load(self.root).images
        assert recorded in {"auto": {LOCAL, PULLED}, "local": {LOCAL}, "pull": {PULLED}}[IMAGES], recorded
        return recorded

    def with_healthcheck(self) -> frozenset[str]:
        """The configured services with a health check of their own; a label names the health URL of the others."""
        services = self.configuration()
        found = {name for name in self.configured() if (services[name].get("healthcheck") or {}).get("test")}
        for name in self.configured() - found:
            assert HEALTH_URL in services[name]["labels"], f"no check covers the health of {name}"
        return frozenset(found)

    def store(self, signal: str) -> str:
        """The service that stores the ``logs`` or the ``traces``."""
        if signal not in self._stores:  # asked repeatedly, while tests wait for a line or a trace
            self._stores[signal] = next(name for name in STORES[signal] if name in self.configured())
        return self._stores[signal]

    def url(self, path: str = "", port: str = "APP_PORT") -> str:
        """The address of a published service."""
        return f"http://127.0.0.1:{self.settings[port]}{path}"

    def proxy(self) -> Proxy:
        """The proxy of a production stack on the ports of the settings, with the certificate of its own authority."""
        domain, plain = self.settings["DOMAIN"], int(self.settings["PROXY_HTTP_PORT"])
        port = int(self.settings["PROXY_HTTPS_PORT"])
        authority = self.exec("proxy", "cat", ROOT)
        return Proxy(f"https://{domain}:{port}", domain, "127.0.0.1", plain, port, authority)

    def authorization(self) -> dict[str, str]:
        """The header of write requests, with the current token."""
        token = (self.root / "secrets/api_token.txt").read_text().partition("\n")[0]
        return {"Authorization": f"Bearer {token}"}

    def probe(self, url: str) -> str:
        """Request a probe and return its id."""
        answer = requests.post(self.url("/api/probes"), json={"url": url}, headers=self.authorization(), timeout=10)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def result(self, probe: str, within: float = 20) -> dict[str, Any]:
        """Wait for a probe to finish, and return it."""

        def finished() -> dict[str, Any] | None:
            try:
                body: dict[str, Any] = requests.get(self.url(f"/api/probes/{probe}"), timeout=5).json()
            except requests.RequestException:
                return None
            return body if body.get("status") not in {"queued", "running"} else None

        return until(finished, within, f"probe {probe} to finish")

    def health(self) -> tuple[int, dict[str, Any]]:
        """Status code and body of /api/health."""
        answer = requests.get(self.url("/api/health"), timeout=5)
        return answer.status_code, answer.json()

    def wait_until_recovered(self) -> None:
        """Wait for every container to be healthy and the application to be connected to what it uses.

        The application is healthy without its dependencies, and reconnects shortly after they are healthy.
        """
        self.invoke("wait")
        until(lambda: self.health()[0] == 200, 60, "/api/health to report every dependency as healthy")

    def destroy(self) -> None:
        """Remove every container, network and volume of the project, in any state."""
        label = f"label=com.docker.compose.project={self.name}"
        for listing, remove in (
            (("ps", "--all", "--quiet"), ("rm", "--force", "--volumes")),
            (("network", "ls", "--quiet"), ("network", "rm")),
            (("volume", "ls", "--quiet"), ("volume", "rm", "--force")),
        ):
            if found := self.docker(*listing, "--filter", label).split():
                self.docker(*remove, *found)

    def leftovers(self) -> list[str]:
        """The containers, networks and volumes of the project that still exist."""
        label = f"label=com.docker.compose.project={self.name}"
        listings = (("ps", "--all"), ("network", "ls"), ("volume", "ls"))
        return [name for listing in listings for name in self.docker(*listing, "--quiet", "--filter", label).split()]


@contextmanager
def start_lock() -> Iterator[None]:
    """Serialize starts of stacks: one saturates all cores, and concurrent ones exceed their timeouts.

    Only one process on this machine is in the block at a time.
    """
    with Path(tempfile.gettempdir(), "netmon-live-start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def kill(process: subprocess.Popen[str]) -> str:
    """Kill a command of `Stack.start` with its child processes, and return the rest of its output."""
    os.killpg(process.pid, signal.SIGKILL)
    return process.communicate(timeout=60)[0]


def until(look: Callable[[], T | None], within: float, what: str) -> T:
    """Call ``look`` until it returns something; it runs for at most a third of the time.

    ``within`` is the timeout in seconds. It is doubled in a worker of xdist, since stacks share the machine.
    """
    within *= 2 if WORKER else 1
    deadline = time.monotonic() + within
    while True:
        began = time.monotonic()
        if found := look():
            return found
        now = time.monotonic()
        assert now < deadline, f"timed out after {within:g} s waiting for {what}"
        time.sleep(max(0.2, 2 * (now - began)))
