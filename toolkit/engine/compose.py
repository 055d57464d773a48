"""The only place that starts docker: one function runs a command, everything else builds argument lists for it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

from toolkit.core.errors import ToolkitError

INSTALL = "install Docker Engine 25 or newer, or run scripts/quickstart.sh on Debian and Ubuntu"
INSTALL_COMPOSE = "install the Compose plugin 2.24 or newer (package docker-compose-plugin or docker-compose)"
ADD_LAYER = "run: invoke setup (.env may lack a layer), or correct a misspelt service in docker-compose.override.yml"
CHANGE_PORT = "invoke doctor names who holds the port; another one can be set in .env"
START_DOCKER = "start Docker (systemctl start docker, or scripts/engine.sh start)"


class TimedOutError(ToolkitError):
    """A command that was ended by its time-out; ``output`` is what it had printed by then, where captured."""

    def __init__(self, what: str, output: str) -> None:
        super().__init__(what)
        self.output = output


@dataclass(frozen=True)
class Result:
    """A finished command: exit code and, where captured, its output."""

    code: int
    stdout: str
    stderr: str


class Options(TypedDict, total=False):
    """How a command is run, see `run`."""

    capture: bool
    timeout: float | None
    env: Mapping[str, str | None] | None
    stop: threading.Event | None
    stdin: str
    watch: Callable[[str], None] | None


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    capture: bool = True,
    timeout: float | None = None,
    env: Mapping[str, str | None] | None = None,
    stop: threading.Event | None = None,
    stdin: str = "",
    watch: Callable[[str], None] | None = None,
) -> Result:
    """Run a command to its end; tests patch this function.

    Args:
        argv: Program and arguments; no shell is involved.
        cwd: The folder to run in.
        capture: Return the output instead of letting it through to the terminal.
        timeout: Seconds after which the command is killed.
        env: Variables set in addition to those of this process, or removed from them (None).
        stop: Once set, by another thread, the command is told to end (SIGTERM).
        stdin: What the command reads from its standard input.
        watch: Called, in another thread, with each line of the standard output as it is printed; ``stdout`` of the
            result is empty then. The command prints to a terminal, because docker shows bytes on terminals only.

    Raises:
        ToolkitError: the program is missing, or the time-out ran out (TimedOutError).
    """
    variables = {**os.environ, **(env or {})}
    pipe = subprocess.PIPE if capture else None
    with _terminal(watch) if watch else nullcontext(pipe) as stdout:
        try:
            process = subprocess.Popen(
                argv,
                cwd=cwd,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=stdout,
                stderr=pipe,
                text=True,
                errors="replace",
                env={name: value for name, value in variables.items() if value is not None},
            )
        except FileNotFoundError as error:
            raise ToolkitError(f"cannot run {argv[0]}", "the program is not installed", INSTALL) from error
        return _wait_for_exit(process, argv, stdin, timeout, stop)


def _wait_for_exit(
    process: subprocess.Popen[str],
    argv: Sequence[str],
    stdin: str,
    timeout: float | None,
    stop: threading.Event | None,
) -> Result:
    with process:
        try:
            stdout, stderr = _communicate(process, stdin, timeout, stop)
        except subprocess.TimeoutExpired as error:
            process.kill()
            output = error.stdout or ""
            said = output.decode(errors="replace") if isinstance(output, bytes) else output
            raise TimedOutError(f"{shlex.join(argv)} did not end within {timeout:g} s", said) from error
        except BaseException:
            process.kill()
            raise
    return Result(process.returncode, stdout or "", stderr or "")


@contextmanager
def _terminal(watch: Callable[[str], None]) -> Iterator[int]:
    """A terminal for a command to print to, whose lines are passed on."""
    ours, theirs = os.openpty()
    reader = threading.Thread(target=_forward_lines, args=(ours, watch), daemon=True)
    reader.start()
    try:
        yield theirs
    finally:
        os.close(theirs)
        reader.join(timeout=1)  # longer only where something that the command has started keeps the terminal


def _forward_lines(terminal: int, watch: Callable[[str], None]) -> None:
    """Call ``watch`` with each line, and with each that replaces one, until nobody has the terminal open."""
    rest = ""
    with suppress(OSError):  # that is an error of the terminal (EIO), not its end
        while chunk := os.read(terminal, 65536):
            *lines, rest = re.split(r"[\r\n]+", rest + chunk.decode(errors="replace"))
            for line in lines:
                watch(line)
    if rest:
        watch(rest)
    os.close(terminal)


def _communicate(
    process: subprocess.Popen[str], stdin: str, timeout: float | None, stop: threading.Event | None
) -> tuple[str, str]:
    given: str | None = stdin or None
    if stop is None:
        return process.communicate(given, timeout=timeout)
    deadline = time.monotonic() + (timeout or float("inf"))
    while True:
        try:
            return process.communicate(given, timeout=0.1)
        except subprocess.TimeoutExpired:
            given = None  # it is on its way
            if stop.is_set():
                process.terminate()
            if time.monotonic() > deadline:
                raise


@dataclass(frozen=True)
class Docker:
    """Docker as seen from one checkout.

    ``echo`` prints every command before it runs; ``env`` is set for every one of them, and wins over .env.
    """

    root: Path
    echo: bool = False
    env: Mapping[str, str | None] = field(default_factory=dict, hash=False)
    _configs: dict[object, str] = field(default_factory=dict, repr=False, compare=False)

    def __call__(self, *args: str, **options: Unpack[Options]) -> Result:
        """Run ``docker ARGS`` and return its result, whatever its exit code; the options are those of `run`."""
        if self.echo:
            print(f"$ {shlex.join(['docker', *args])}", file=sys.stderr, flush=True)
        options["env"] = {**self.env, **(options.get("env") or {})}
        return run(["docker", *args], cwd=self.root, **options)

    def using(self, **env: str) -> Docker:
        """The same with variables that win over .env, so that every function works on what they describe."""
        return replace(self, env={**self.env, **env}, _configs={})

    def compose(self, *args: str, **options: Unpack[Options]) -> Result:
        """Run ``docker compose ARGS``; .env says which files and groups it acts on."""
        return self("compose", *args, **options)

    def check(self, result: Result, doing: str) -> Result:
        """The result, if its exit code is 0.

        Raises:
            ToolkitError: it is not; the last lines that docker printed say why.
        """
        if result.code == 0:
            return result
        raise explain(doing, result)

    def effective(self, *, every_group: bool = False, env: Mapping[str, str | None] | None = None) -> dict[str, Any]:
        """The merged configuration as Compose sees it (``config --format json``).

        Compose takes a tenth of a second for it: it is asked once, and again when .env has changed.

        Args:
            every_group: Include the services of groups that are off, and the one-off tools.
            env: Variables set in addition (COMPOSE_FILE, for another profile).
        """
        settings = self.root / ".env"
        key = (every_group, tuple((env or {}).items()), settings.stat().st_mtime_ns if settings.exists() else 0)
        if key not in self._configs:
            groups = ("--profile", "*") if every_group else ()
            result = self.check(self.compose(*groups, "config", "--format", "json", env=env), "read the compose files")
            self._configs[key] = result.stdout
        config: dict[str, Any] = json.loads(self._configs[key])
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

    def data_root(self) -> str | None:
        """The folder of the engine's files, the containers' logs among them; None where no engine answers."""
        try:
            return self("info", "--format", "{{.DockerRootDir}}").stdout.strip() or None
        except ToolkitError:
            return None

    def image_id(self, name: str) -> str | None:
        """The id of an image that the engine has, or None."""
        result = self("image", "inspect", "--format", "{{.Id}}", name)
        return result.stdout.strip() if result.code == 0 else None


def explain(doing: str, result: Result) -> ToolkitError:
    """The error of a failed docker command: its last lines, and the fix where the cause is known."""
    said = [line.strip() for line in (result.stderr or result.stdout).splitlines() if line.strip()]
    why = "\n    ".join(said[-5:]) or f"docker ended with exit code {result.code}"
    text = " ".join(said).lower()
    fixes = {
        "cannot connect to the docker daemon": START_DOCKER,
        "is the docker daemon running": START_DOCKER,
        "permission denied while trying to connect": "add your account to the group docker, or use sudo",
        "is not a docker command": INSTALL_COMPOSE,
        "unknown shorthand flag": INSTALL_COMPOSE,
        "port is already allocated": CHANGE_PORT,
        "address already in use": CHANGE_PORT,
        "no space left on device": "free some disk space: docker system df shows what Docker holds",
        'run "invoke setup" first': "run: invoke setup",
        "has neither an image nor a build context": ADD_LAYER,
        "no such file or directory": "run: invoke setup",
    }
    fix = next((fix for sign, fix in fixes.items() if sign in text), "")
    return ToolkitError(f"cannot {doing}", why, fix)
