"""A machine for tests from scratch, with ports, an engine, images and a registry of its own.

The machine is a privileged container with a copy of this checkout at CHECKOUT, no image and no running engine. The
registry beside it serves the published images at REGISTRY: an engine accepts plain HTTP from localhost. A volume keeps
the registry's content between test runs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.live import published
from tests.live.stack import WORKER, copy_checkout, until
from toolkit.checkout.project import LOCAL, Project
from toolkit.engine.compose import Docker

CHECKOUT = "/root/network-monitor"
REGISTRY = "localhost:5000"
"""The address of the registry in the machine."""
PUSH_PORT = 5001
"""The port of the registry for pushes, without injected faults."""
REGISTRY_VOLUME = "netmon-test-registry"
"""The volume with the registry's content."""
PIP_VOLUME = "netmon-test-packages"
"""The volume with pip's cache."""
LABEL = "netmon.test-machine"
DEBIAN = "library/debian:forky-slim"
"""The base image of machine and registry where the published images are in use and no base is built here."""
PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "timeout")
"""The settings of pip that the machine takes over from this one."""
PROXIES = ("http_proxy", "https_proxy", "no_proxy")
CHECK = re.compile(r"^(?P<name>\S+) +(?:host|inside) +(?P<outcome>\S+) +[\d.]+ s", re.MULTILINE)
"""A line of the smoke checks."""


@dataclass
class Machine:
    """A running machine; ``docker`` is the engine that runs its container."""

    name: str
    docker: Docker
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def running(cls, project: Project, name: str) -> Iterator[Machine]:
        """A machine with a copy of this working tree and a registry of every published image, while the block runs.

        ``project`` is a checkout that is set up and has the image set of this machine, the source of the images. The
        remains of a killed run of the same name are removed.

        Raises:
            ToolkitError: an image cannot be built or pushed, or a container does not start.
        """
        name = f"{name}-{WORKER}" if WORKER else name
        machine = cls(name, Docker(project.root), {"NO_COLOR": "1", "COLUMNS": "200", **package_index(), **proxies()})
        machine.destroy()
        try:
            machine._start(base_of(project))
            images = published.published(project, machine.docker)
            published.fill(machine.docker, machine._push_address(), images)
            machine.copy_checkout()
            yield machine
        finally:
            machine.destroy()

    def _start(self, base: str) -> None:
        for fixture in ("machine", "registry"):
            folder = str(published.FIXTURES / fixture)
            self._docker("build", "--quiet", f"--build-arg=BASE={base}", "--tag", f"netmon-test/{fixture}", folder,
                     env={"BUILDX_BUILDER": "default"})  # fmt: skip
        common = ("--detach", "--label", f"{LABEL}={self.name}")
        cache = f"--volume={PIP_VOLUME}:/root/.cache/pip"
        volumes = (f"--volume={self.name}-engine:/var/lib/netmon-engine", cache)
        self._docker("run", *common, "--name", self.name, "--hostname=machine", "--privileged", *volumes,
                     f"--publish=127.0.0.1::{PUSH_PORT}", "netmon-test/machine")  # fmt: skip
        self._docker("run", *common, "--name", f"{self.name}-registry", f"--network=container:{self.name}",
                     f"--volume={REGISTRY_VOLUME}:/var/lib/registry", "netmon-test/registry")  # fmt: skip
        until(self._serves, 20, "the registry to answer")

    def _serves(self) -> bool:
        return self.run("curl", "--silent", "--fail", f"http://{REGISTRY}/v2/", folder="/", check=False).returncode == 0

    def _push_address(self) -> str:
        """The address of the registry for the engine that runs the machine."""
        return f"localhost:{self._docker('port', self.name, str(PUSH_PORT)).rpartition(':')[2]}"

    def copy_checkout(self) -> None:
        """Copy this working tree into the machine, replacing an earlier copy."""
        with TemporaryDirectory() as folder:
            copy_checkout(Path(folder))
            self.run("rm", "-rf", CHECKOUT, folder="/")
            self._docker("cp", "--quiet", f"{folder}/.", f"{self.name}:{CHECKOUT}")
        self.run("chown", "-R", "root:root", CHECKOUT, folder="/")
        mirrors = "".join(f"{variable}={REGISTRY}\n" for variable in published.MIRRORS)
        self.write(".env", mirrors)

    def run(self, *argv: str, timeout: float = 600, check: bool = True, env: Mapping[str, str] | None = None,
            folder: str = CHECKOUT, text: str = "") -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run a command in the machine; with ``check``, an exit code other than 0 fails the test with the output.

        After ``timeout`` seconds the command is killed, exit code 137. ``text`` is its standard input.
        """
        variables = [f"--env={key}={value}" for key, value in {**self.environment, **(env or {})}.items()]
        limit = ("timeout", "--signal=KILL", f"{timeout:g}")
        done = subprocess.run(
            ["docker", "exec", "--interactive", "--workdir", folder, *variables, self.name, *limit, *argv],
            input=text, capture_output=True, text=True, timeout=timeout + 30, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{argv} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def invoke(self, *args: str, timeout: float = 600, check: bool = True,
               env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run an Invoke task of the machine's checkout, in the environment that quickstart.sh has created."""
        return self.run(".venv/bin/invoke", *args, timeout=timeout, check=check, env=env)

    def engine(self, *args: str, timeout: float = 300, check: bool = True) -> str:
        """The standard output of a docker command in the machine."""
        return self.run("docker", *args, timeout=timeout, check=check).stdout

    def containers(self) -> dict[str, dict[str, Any]]:
        """``docker inspect`` of the containers of the checkout's project by their service."""
        listed = self.engine("ps", "--all", "--quiet", "--filter", "label=com.docker.compose.oneoff=False").split()
        found = json.loads(self.engine("inspect", *listed)) if listed else []
        return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in found}

    def services(self) -> set[str]:
        """The services of the effective configuration."""
        return set(self.engine("compose", "config", "--services").split())

    def published(self) -> set[str]:
        """The images of the effective configuration that are pulled from the registry."""
        return {name for name in self.engine("compose", "config", "--images").split() if name.startswith(REGISTRY)}

    def read(self, path: str) -> str:
        """The content of a file of the machine's checkout."""
        return self.run("cat", path).stdout

    def write(self, path: str, content: str) -> None:
        """Replace a file of the machine's checkout."""
        self.run("tee", path, text=content)

    def publish(self, dockerfile: str, name: str) -> None:
        """Build an image in the machine, push it to the registry as ``name``, and remove it from the machine."""
        pushed = name.replace(REGISTRY, f"localhost:{PUSH_PORT}", 1)
        self.run("docker", "build", "--quiet", "--tag", pushed, "-", text=dockerfile)
        self.engine("push", "--quiet", pushed)
        self.engine("rmi", pushed)

    @contextmanager
    def fault(self, kind: str, **where: object) -> Iterator[None]:
        """Inject a fault of tests/fixtures/registry/proxy.py into the registry while the block runs."""
        path, registry = "/run/fault.json", f"{self.name}-registry"
        self._docker("exec", "--interactive", registry, "tee", path, stdin=json.dumps({"kind": kind, **where}))
        try:
            yield
        finally:
            self._docker("exec", registry, "rm", path)

    def destroy(self) -> None:
        """Remove the machine and its data; the registry's content is kept."""
        label = f"label={LABEL}={self.name}"
        if found := self._docker("ps", "--all", "--quiet", "--filter", label).split():
            self._docker("rm", "--force", "--volumes", *found)
        self.docker("volume", "rm", "--force", f"{self.name}-engine")

    def _docker(self, *args: str, env: Mapping[str, str | None] | None = None, stdin: str = "") -> str:
        """The standard output of a docker command outside the machine."""
        return self.docker.check(self.docker(*args, env=env, stdin=stdin), f"docker {args[0]}").stdout.strip()


def checks(output: str) -> dict[str, str]:
    """The smoke checks in the output of a task or script, with their outcomes."""
    return {check["name"]: check["outcome"] for check in CHECK.finditer(output)}


def base_of(project: Project) -> str:
    """The name of Debian testing's image in the image set of this machine."""
    mirror = project.env.get("REGISTRY") or os.environ.get("REGISTRY") or "docker.io"
    return "netmon-local/base:forky" if project.images == LOCAL else f"{mirror}/{DEBIAN}"


def package_index() -> dict[str, str]:
    """The package index of this machine's pip, as environment variables."""
    argv = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    settings = dict(line.partition("=")[::2] for line in listed.splitlines())
    found = {name.rpartition(".")[2]: value.strip("'") for name, value in settings.items()}
    return {f"PIP_{name.upper().replace('-', '_')}": found[name] for name in PIP_SETTINGS if name in found}


def proxies() -> dict[str, str]:
    """The HTTP proxies of this machine, as environment variables."""
    return {name: value for name, value in os.environ.items() if name.lower() in PROXIES}
