"""A machine of its own for tests that start from nothing: ports, engine and images are its own, as is a registry.

The machine is a privileged container. In it this checkout lies in CHECKOUT; no image is there, and no engine runs. The
registry beside it serves the published images at REGISTRY: an engine takes plain HTTP from its own machine. What the
registry holds is kept in a volume from one test run to the next.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.live import published
from tests.live.stack import WORKER, copy_checkout, until
from toolkit.checkout.project import LOCAL, Project
from toolkit.engine.compose import Docker

CHECKOUT = "/root/network-monitor"
REGISTRY = "localhost:5000"
"""Where the machine reaches the registry."""
PUSHED = 5001
"""The port at which the registry takes images, and never misbehaves."""
STORED = "netmon-test-registry"
"""The volume with what the registry holds."""
PACKAGES = "netmon-test-packages"
"""The volume with what pip has fetched."""
LABEL = "netmon.test-machine"
DEBIAN = "library/debian:forky-slim"
"""What machine and registry start from where the published images are in use, and none is built here."""
CONFIGURED = ("index-url", "extra-index-url", "trusted-host", "timeout")
"""What the machine takes over of this one's configuration of pip."""
PROXIES = ("http_proxy", "https_proxy", "no_proxy")


@dataclass
class Machine:
    """A machine that runs; ``docker`` is the engine that it is a container of."""

    name: str
    docker: Docker
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def running(cls, project: Project, name: str) -> Iterator[Machine]:
        """A machine with a copy of this working tree and a registry of every published image, while the block runs.

        ``project`` is a checkout that is set up and knows which image set this machine uses: from there come the
        images. What a killed run of the same name left behind is removed.

        Raises:
            ToolkitError: an image cannot be built or pushed, or a container does not start.
        """
        name = f"{name}-{WORKER}" if WORKER else name
        machine = cls(name, Docker(project.root), {"NO_COLOR": "1", "COLUMNS": "200", **package_index(), **proxies()})
        machine.destroy()
        try:
            machine._start(base_of(project))
            published.fill(machine.docker, machine._pushed_at(), published.published(project, machine.docker))
            machine.copy_checkout()
            yield machine
        finally:
            machine.destroy()

    def _start(self, base: str) -> None:
        for fixture in ("machine", "registry"):
            folder = str(published.FIXTURES / fixture)
            self._do("build", "--quiet", f"--build-arg=BASE={base}", "--tag", f"netmon-test/{fixture}", folder,
                     env={"BUILDX_BUILDER": "default"})  # fmt: skip
        mine = ("--detach", "--label", f"{LABEL}={self.name}")
        volumes = (f"--volume={self.name}-engine:/var/lib/netmon-engine", f"--volume={PACKAGES}:/root/.cache/pip")
        self._do("run", *mine, "--name", self.name, "--hostname=machine", "--privileged", *volumes,
                 f"--publish=127.0.0.1::{PUSHED}", "netmon-test/machine")  # fmt: skip
        self._do("run", *mine, "--name", f"{self.name}-registry", f"--network=container:{self.name}",
                 f"--volume={STORED}:/var/lib/registry", "netmon-test/registry")  # fmt: skip
        until(self._serves, 20, "the registry to answer")

    def _serves(self) -> bool:
        return self.run("curl", "--silent", "--fail", f"http://{REGISTRY}/v2/", folder="/", check=False).returncode == 0

    def _pushed_at(self) -> str:
        """The registry as the engine that runs the machine reaches it."""
        return f"localhost:{self._do('port', self.name, str(PUSHED)).rpartition(':')[2]}"

    def copy_checkout(self) -> None:
        """Put a copy of this working tree into the machine, in the place of one that is there."""
        with TemporaryDirectory() as folder:
            copy_checkout(Path(folder))
            self.run("rm", "-rf", CHECKOUT, folder="/")
            self._do("cp", "--quiet", f"{folder}/.", f"{self.name}:{CHECKOUT}")
        self.run("chown", "-R", "root:root", CHECKOUT, folder="/")
        mirrors = "".join(f"{variable}={REGISTRY}\n" for variable in published.MIRRORS)
        self.write(".env", mirrors)

    def run(self, *argv: str, timeout: float = 600, check: bool = True, env: Mapping[str, str] | None = None,
            folder: str = CHECKOUT, text: str = "") -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run a command in the machine; with ``check`` an exit code other than 0 fails the test with its output.

        After ``timeout`` seconds it is killed, which is exit code 137. ``text`` is its standard input.
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
        """Run an Invoke task of the machine's checkout, in the environment that quickstart.sh has made there."""
        return self.run(".venv/bin/invoke", *args, timeout=timeout, check=check, env=env)

    def engine(self, *args: str, timeout: float = 300, check: bool = True) -> str:
        """The standard output of docker in the machine."""
        return self.run("docker", *args, timeout=timeout, check=check).stdout

    def read(self, path: str) -> str:
        """A file of the machine's checkout."""
        return self.run("cat", path).stdout

    def write(self, path: str, content: str) -> None:
        """Replace a file of the machine's checkout."""
        self.run("tee", path, text=content)

    def publish(self, dockerfile: str, name: str) -> None:
        """Build an image in the machine and have the registry serve it as ``name``; the machine does not keep it."""
        pushed = name.replace(REGISTRY, f"localhost:{PUSHED}", 1)
        self.run("docker", "build", "--quiet", "--tag", pushed, "-", text=dockerfile)
        self.engine("push", "--quiet", pushed)
        self.engine("rmi", pushed)

    @contextmanager
    def fault(self, kind: str, **where: object) -> Iterator[None]:
        """The registry misbehaves while the block runs, see tests/fixtures/registry/proxy.py."""
        path, registry = "/run/fault.json", f"{self.name}-registry"
        self._do("exec", "--interactive", registry, "tee", path, stdin=json.dumps({"kind": kind, **where}))
        try:
            yield
        finally:
            self._do("exec", registry, "rm", path)

    def destroy(self) -> None:
        """Remove the machine with all that is in it; what the registry holds stays."""
        label = f"label={LABEL}={self.name}"
        if found := self._do("ps", "--all", "--quiet", "--filter", label).split():
            self._do("rm", "--force", "--volumes", *found)
        self.docker("volume", "rm", "--force", f"{self.name}-engine")

    def _do(self, *args: str, env: Mapping[str, str | None] | None = None, stdin: str = "") -> str:
        """The standard output of docker outside of the machine."""
        return self.docker.check(self.docker(*args, env=env, stdin=stdin), f"docker {args[0]}").stdout.strip()


def base_of(project: Project) -> str:
    """Debian testing, in the image set that this machine uses."""
    mirror = project.env.get("REGISTRY") or os.environ.get("REGISTRY") or "docker.io"
    return "netmon-local/base:forky" if project.images == LOCAL else f"{mirror}/{DEBIAN}"


def package_index() -> dict[str, str]:
    """Where pip of this machine finds packages, as variables."""
    argv = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    settings = dict(line.partition("=")[::2] for line in listed.splitlines())
    found = {name.rpartition(".")[2]: value.strip("'") for name, value in settings.items()}
    return {f"PIP_{name.upper().replace('-', '_')}": found[name] for name in CONFIGURED if name in found}


def proxies() -> dict[str, str]:
    """The proxies by which this machine reaches the world, as variables."""
    return {name: value for name, value in os.environ.items() if name.lower() in PROXIES}
