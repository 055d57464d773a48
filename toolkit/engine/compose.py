"""The only module that runs docker: one function runs a command, everything else builds its arguments."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypedDict, Unpack

from toolkit.core import terminal
from toolkit.core.errors import ToolkitError
from toolkit.engine import shapes, timeouts
from toolkit.engine.queries import Queries
from toolkit.engine.timeouts import HungEngineError, TimedOutError

# The arguments of `Docker.query`.
INFORMATION = ("info", "--format", "{{json .}}")
CONFIGURATION = ("compose", "config", "--format", "json")
EVERY_GROUP = ("compose", "--profile", "*", "config", "--format", "json")
HASHES = ("compose", "config", "--hash", "*")

INSTALL = "install Docker Engine 25 or newer, or run scripts/quickstart.sh on Debian and Ubuntu"
INSTALL_COMPOSE = "install the Compose plugin 2.24 or newer (package docker-compose-plugin or docker-compose)"
ADD_LAYER = "run: invoke setup (.env may lack a layer), or correct a misspelt service in docker-compose.override.yml"
CHANGE_PORT = "invoke doctor shows which program uses the port; set another port in .env"
START_DOCKER = "start Docker (systemctl start docker, or scripts/engine.sh start)"


@dataclass(frozen=True)
class Result:
    """A finished command: its exit code and, if captured, its output."""

    code: int
    stdout: str
    stderr: str


class Options(TypedDict, total=False):
    """The options of `run`."""

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
    """Run a command to completion; tests patch this function.

    Args:
        argv: Program and arguments; no shell is involved.
        cwd: The working directory.
        capture: Return the output instead of passing it to the terminal or, copied, to a pipe or a file: an output
            that cannot be written is then an error of this process.
        timeout: Seconds until the command is killed.
        env: Variables to set in, or with None to remove from, the environment of this process.
        stop: Terminates the command (SIGTERM) once set by another thread.
        stdin: The standard input of the command.
        watch: Called, in another thread, with each line of the standard output as it is printed; ``stdout`` of the
            result is empty then. The command gets a pseudo-terminal, because docker shows bytes only on terminals.

    Raises:
        ToolkitError: the program is not installed, or the timeout expired (TimedOutError).
    """
    # Docker takes the working directory from PWD, which would name it through a symbolic link.
    variables = {**os.environ, "PWD": str(cwd), **(env or {})}
    copied = not capture and not sys.stdout.isatty()
    with _terminal(watch) if watch else nullcontext(subprocess.PIPE if capture or copied else None) as stdout:
        try:
            process = subprocess.Popen(
                argv,
                cwd=cwd,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.PIPE if capture else None,
                encoding="utf-8",
                errors="replace",
                env={name: value for name, value in variables.items() if value is not None},
            )
        except FileNotFoundError as error:
            raise ToolkitError(f"cannot run {argv[0]}", "the program is not installed", INSTALL) from error
        return _copy_output(process) if copied else _wait_for_exit(process, argv, stdin, timeout, stop)


def _copy_output(process: subprocess.Popen[str]) -> Result:
    """Copy the output of a command to the standard output, unchanged; the command is killed if that fails."""
    with process:
        try:
            if process.stdout:
                terminal.copy_to_stdout(process.stdout.fileno())
        except BaseException:
            process.kill()
            raise
    return Result(process.returncode, "", "")


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
            text = output.decode(errors="replace") if isinstance(output, bytes) else output
            raise TimedOutError(f"{shlex.join(argv)} did not finish within {timeout:g} s", text) from error
        except BaseException:
            process.kill()
            raise
    return Result(process.returncode, stdout or "", stderr or "")


@contextmanager
def _terminal(watch: Callable[[str], None]) -> Iterator[int]:
    """A pseudo-terminal for the output of a command, whose lines are forwarded."""
    ours, theirs = os.openpty()
    reader = threading.Thread(target=_forward_lines, args=(ours, watch), daemon=True)
    reader.start()
    try:
        yield theirs
    finally:
        os.close(theirs)
        reader.join(timeout=1)  # a child process of the command may keep the terminal open


def _forward_lines(terminal: int, watch: Callable[[str], None]) -> None:
    """Call ``watch`` with each line, also those that overwrite another, until the terminal is closed."""
    rest = ""
    with suppress(OSError):  # a closed terminal is an error (EIO), not end of file
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
    pending: str | None = stdin or None
    if stop is None:
        return process.communicate(pending, timeout=timeout)
    deadline = time.monotonic() + (timeout or float("inf"))
    while True:
        try:
            return process.communicate(pending, timeout=0.1)
        except subprocess.TimeoutExpired:
            pending = None  # the first call sends all of it
            if stop.is_set():
                process.terminate()
            if time.monotonic() > deadline:
                raise


def _succeeded(result: Result) -> bool:
    return result.code == 0


@dataclass(frozen=True)
class Docker:
    """Docker commands in one checkout.

    ``echo`` prints every command before it runs. ``env`` is set for every command and takes precedence over .env.
    """

    root: Path
    echo: bool = False
    env: Mapping[str, str | None] = field(default_factory=dict, hash=False)
    _queries: Queries[Result] = field(default_factory=partial(Queries, _succeeded), repr=False, compare=False)
    _hang: timeouts.Hang = field(default_factory=timeouts.Hang, repr=False, compare=False)

    def __call__(self, *args: str, **options: Unpack[Options]) -> Result:
        """Run ``docker ARGS`` and return the result, regardless of the exit code; options as in `run`.

        A read-only command has a timeout, even if none is given.

        Raises:
            HungEngineError: the engine did not answer such a command, now or a moment ago.
        """
        if self.echo:
            print(f"$ {shlex.join(['docker', *args])}", file=sys.stderr, flush=True)
        options["env"] = {**self.env, **(options.get("env") or {})}
        if "timeout" in options or not timeouts.is_query(args):
            return run(["docker", *args], cwd=self.root, **options)
        if self._hang.is_recent:
            raise HungEngineError(args)
        options["timeout"] = timeouts.SECONDS
        try:
            return run(["docker", *args], cwd=self.root, **options)
        except TimedOutError as error:
            self._hang.remember()
            raise HungEngineError(args) from error

    def using(self, **env: str) -> Docker:
        """A copy with variables that take precedence over .env in every command."""
        return replace(self, env={**self.env, **env}, _queries=Queries(_succeeded))

    def compose(self, *args: str, **options: Unpack[Options]) -> Result:
        """Run ``docker compose ARGS``; .env selects the files and groups."""
        return self("compose", *args, **options)

    def exec(self, service: str, *command: str, **options: Unpack[Options]) -> Result:
        """Run a command in a running container of a service; without one, the exit code is 1.

        `docker compose exec` would read the configuration for each command, which takes 0.3 s of CPU time.
        """
        labels = (f"project={self.project_name()}", f"service={service}", "oneoff=False")
        filters = (*(f"label=com.docker.compose.{label}" for label in labels), "status=running")
        running = self("ps", "--quiet", "--no-trunc", *(word for each in filters for word in ("--filter", each)))
        if running.code:
            return running
        if not running.stdout.split():
            return Result(1, "", f"the service {service} is not running")
        return self("exec", "--interactive", running.stdout.split()[0], *command, **options)

    def check(self, result: Result, action: str) -> Result:
        """Return the result if its exit code is 0.

        Raises:
            ToolkitError: the command failed; the message has the last lines of docker's output.
        """
        if result.code == 0:
            return result
        raise explain(action, result)

    def effective(
        self, *, every_group: bool = False, env: Mapping[str, str | None] | None = None
    ) -> shapes.Configuration:
        """The merged configuration (``docker compose config --format json``).

        Compose takes a quarter of a second, so the result is cached until .env changes.

        Args:
            every_group: Include the services of groups that are off, and the one-off tools.
            env: Additional variables, such as COMPOSE_FILE for another profile.

        Raises:
            ToolkitError: Compose cannot read the files.
        """
        result = self.query(*(EVERY_GROUP if every_group else CONFIGURATION), env=env)
        config: shapes.Configuration = json.loads(self.check(result, "read the compose files").stdout)
        return config

    def info(self) -> shapes.Info:
        """``docker info``: the engine, and the plugins of the client.

        Raises:
            ToolkitError: the engine does not answer.
        """
        result = self.query(*INFORMATION)
        found = self._parsed_info()
        if result.code or not found.get("ServerVersion"):
            raise explain("query the Docker Engine", result)
        return found

    def plugin(self, name: str) -> str | None:
        """The version of a plugin of the client; None if it is not installed. This does not need the engine."""
        plugins = (self._parsed_info().get("ClientInfo") or {}).get("Plugins") or []
        return next((each.get("Version", "") for each in plugins if each["Name"] == name), None)

    def _parsed_info(self) -> shapes.Info:
        try:
            found: shapes.Info = json.loads(self.query(*INFORMATION).stdout)
        except ValueError:
            found = {}
        return found

    def prefetch(self, *queries: tuple[str, ...]) -> None:
        """Start each `query` in the background, for instance while the modules of a task are imported."""
        for args in queries:
            # The compose files cannot be read without settings.
            if args[0] != "compose" or (self.root / ".env").exists():
                self._queries.start(self._key(args), partial(self, *args))

    def query(self, *args: str, env: Mapping[str, str | None] | None = None) -> Result:
        """The result of a command that changes nothing. A successful one is cached until .env changes."""
        return self._queries.result(self._key(args, env), partial(self, *args, env=env))

    def _key(self, args: tuple[str, ...], env: Mapping[str, str | None] | None = None) -> Hashable:
        settings = self.root / ".env"
        changed = settings.stat().st_mtime_ns if settings.exists() else 0
        return (args, tuple((env or {}).items()), changed)

    def inspect(self, *containers: str) -> list[shapes.Container]:
        """``docker container inspect``; containers that no longer exist are left out."""
        if not containers:
            return []
        result = self("container", "inspect", *containers)
        found: list[shapes.Container] = json.loads(result.stdout or "[]")
        return found

    def containers(self, project: str | None = None) -> list[shapes.Container]:
        """`inspect` of every container of the project, including stopped ones, excluding one-off ones.

        Raises:
            ToolkitError: the engine does not answer.
        """
        filters = (
            "--filter",
            f"label=com.docker.compose.project={project or self.project_name()}",
            "--filter",
            "label=com.docker.compose.oneoff=False",
        )
        result = self.check(self("ps", "--all", "--quiet", "--no-trunc", *filters), "list the containers")
        return self.inspect(*result.stdout.split())

    def project_name(self) -> str:
        """The Compose project name of this checkout."""
        return self.effective()["name"]

    def data_root(self) -> str | None:
        """The engine's data folder, which contains the containers' logs; None if no engine answers."""
        try:
            return self.info()["DockerRootDir"]
        except ToolkitError:
            return None

    def image_id(self, name: str) -> str | None:
        """The id of a local image, or None if the engine does not have it."""
        result = self("image", "inspect", "--format", "{{.Id}}", name)
        return result.stdout.strip() if result.code == 0 else None


def explain(action: str, result: Result) -> ToolkitError:
    """The error for a failed docker command: the last lines of its output, and the fix if the cause is known."""
    lines = [line.strip() for line in (result.stderr or result.stdout).splitlines() if line.strip()]
    why = "\n    ".join(lines[-5:]) or f"docker exited with code {result.code}"
    text = " ".join(lines).lower()
    fixes = {
        "cannot connect to the docker daemon": START_DOCKER,
        "is the docker daemon running": START_DOCKER,
        "permission denied while trying to connect": "add your account to the group docker, or use sudo",
        "is not a docker command": INSTALL_COMPOSE,
        "unknown shorthand flag": INSTALL_COMPOSE,
        "port is already allocated": CHANGE_PORT,
        "address already in use": CHANGE_PORT,
        "no space left on device": "free disk space: docker system df shows Docker's share",
        'run "invoke setup" first': "run: invoke setup",
        "has neither an image nor a build context": ADD_LAYER,
        "bind source path does not exist": "create the folder; that of BACKUP_TARGET belongs to the user 999 (chown)",
        "no such file or directory": "run: invoke setup",
        "enable_ipv6: failed to cast": "set ENABLE_IPV6 in .env to true or false",
    }
    fix = next((fix for sign, fix in fixes.items() if sign in text), "")
    return ToolkitError(f"cannot {action}", why, fix)
