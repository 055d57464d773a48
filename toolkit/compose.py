"""The only place that starts docker: one function runs a command, everything else builds argument lists for it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import ToolkitError

INSTALL = "install Docker Engine 25 or newer, or run scripts/quickstart.sh on Debian and Ubuntu"
INSTALL_COMPOSE = "install the Compose plugin 2.24 or newer (package docker-compose-plugin or docker-compose)"
OTHER_PORT = "invoke doctor names who holds the port; another one can be set in .env"
START = "start Docker (systemctl start docker, or scripts/engine.sh start)"


@dataclass(frozen=True)
class Result:
    """A finished command: exit code and, where captured, its output."""

    code: int
    stdout: str
    stderr: str


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    capture: bool,
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> Result:
    """Run a command to its end; tests patch this function.

    Args:
        argv: Program and arguments; no shell is involved.
        cwd: The folder to run in.
        capture: Return the output instead of letting it through to the terminal.
        timeout: Seconds after which the command is killed.
        env: Variables set in addition to those of this process.
        stdin: Text for its standard input; without it the command has none.

    Raises:
        ToolkitError: the program is missing, or the time-out ran out.
    """
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            capture_output=capture,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout,
            env={**os.environ, **(env or {})},
            **({"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}),
        )
    except FileNotFoundError as error:
        raise ToolkitError(f"cannot run {argv[0]}", "the program is not installed", INSTALL) from error
    except subprocess.TimeoutExpired as error:
        raise ToolkitError(f"{shlex.join(argv)} did not end within {timeout:g} s") from error
    return Result(done.returncode, done.stdout or "", done.stderr or "")


@dataclass(frozen=True)
class Docker:
    """Docker as seen from one checkout; ``echo`` prints every command before it runs."""

    root: Path
    echo: bool = False

    def __call__(
        self,
        *args: str,
        capture: bool = True,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
    ) -> Result:
        """Run ``docker ARGS`` and return its result, whatever its exit code."""
        if self.echo:
            print(f"$ {shlex.join(['docker', *args])}", file=sys.stderr, flush=True)
        return run(["docker", *args], cwd=self.root, capture=capture, timeout=timeout, env=env, stdin=stdin)

    def compose(
        self,
        *args: str,
        capture: bool = True,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
    ) -> Result:
        """Run ``docker compose ARGS``; .env says which files and groups it acts on."""
        return self("compose", *args, capture=capture, timeout=timeout, env=env, stdin=stdin)

    def check(self, result: Result, doing: str) -> Result:
        """The result, if its exit code is 0.

        Raises:
            ToolkitError: it is not; the last lines that docker printed say why.
        """
        if result.code == 0:
            return result
        raise explain(doing, result)

    def effective(self, *, every_group: bool = False, env: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The merged configuration as Compose sees it (``config --format json``).

        Args:
            every_group: Include the services of groups that are off, and the one-off tools.
            env: Variables set in addition (COMPOSE_FILE, for another profile).
        """
        groups = ("--profile", "*") if every_group else ()
        result = self.check(self.compose(*groups, "config", "--format", "json", env=env), "read the compose files")
        config: dict[str, Any] = json.loads(result.stdout)
        return config

    def inspect(self, *containers: str) -> list[dict[str, Any]]:
        """``docker inspect`` of containers; those that are gone by now are left out."""
        if not containers:
            return []
        result = self("container", "inspect", *containers)
        found: list[dict[str, Any]] = json.loads(result.stdout or "[]")
        return found

    def containers(self, project: str | None = None) -> list[dict[str, Any]]:
        """``docker inspect`` of every container of the project, one-off containers left out, stopped ones included."""
        filters = (
            "--filter",
            f"label=com.docker.compose.project={project or self.project_name()}",
            "--filter",
            "label=com.docker.compose.oneoff=False",
        )
        result = self.check(self("ps", "--all", "--quiet", "--no-trunc", *filters), "list the containers")
        return self.inspect(*result.stdout.split())

    def project_name(self) -> str:
        """The Compose project that this checkout's containers, networks and volumes belong to."""
        name: str = self.effective()["name"]
        return name


def explain(doing: str, result: Result) -> ToolkitError:
    """The error of a failed docker command: its last lines, and the fix where the cause is known."""
    said = [line.strip() for line in (result.stderr or result.stdout).splitlines() if line.strip()]
    why = "\n    ".join(said[-5:]) or f"docker ended with exit code {result.code}"
    text = " ".join(said).lower()
    fixes = {
        "cannot connect to the docker daemon": START,
        "is the docker daemon running": START,
        "permission denied while trying to connect": "add your account to the group docker, or use sudo",
        "is not a docker command": INSTALL_COMPOSE,
        "unknown shorthand flag": INSTALL_COMPOSE,
        "port is already allocated": OTHER_PORT,
        "address already in use": OTHER_PORT,
        "no space left on device": "free some disk space: docker system df shows what Docker holds",
        'run "invoke setup" first': "run: invoke setup",
        "no such file or directory": "run: invoke setup",
    }
    fix = next((fix for sign, fix in fixes.items() if sign in text), "")
    return ToolkitError(f"cannot {doing}", why, fix)
