"""A checkout whose tasks run in processes of their own, without an engine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import tasks
from tests.unit.toolkit.tasks.forkserver import ForkServer

TASKS: dict[str, tuple[str, ...]] = dict.fromkeys(tasks.namespace.task_names, ()) | {
    "secrets.rotate": ("--name=redis_app_password", "--yes"),
    "bundle": ("--output=netmon.bundle",),
    "demo": ("--seconds=1",),
    "images.load": ("--bundle=netmon.bundle",),
    "repair": ("--service=redis", "--yes"),
    "targets.import": ("--gatus=gatus.yml",),
    "targets.apply": ("--file=-",),
    "targets.heartbeat-url": ("--name=nightly", "--yes"),
}
"""Every task, with the arguments that take it furthest without an engine."""

SECONDS = 60
"""The timeout of a task."""

ENGINE = """\
#!/bin/sh
# A docker client with an engine that only describes itself, so that tasks reach their first phases.
case "$*" in
  info*) exec cat "$INFORMATION" ;;
  *" config --format json") exec cat "$CONFIGURATION" ;;
esac
echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?' >&2
exit 1
"""


@dataclass(frozen=True)
class Outcome:
    """The end of a task."""

    code: int
    stdout: str
    stderr: str

    @property
    def errors(self) -> int:
        """The number of error messages."""
        return sum(line.startswith("error: ") for line in self.stderr.splitlines())


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


@dataclass(frozen=True)
class Checkout:
    """A folder with the environment of its tasks; ``prefix`` is a command that starts them."""

    root: Path
    env: Mapping[str, str]
    prefix: tuple[str, ...] = ()

    def run(self, task: str, *arguments: str, stdin: str | None = "", redirect: str = "") -> Outcome:
        """Run a task as from a shell, with a redirection of that."""
        argv = [*self.prefix, sys.executable, "-m", "invoke", task, *arguments]
        if redirect:
            argv = ["sh", "-c", f'exec "$@" {redirect}', "sh", *argv]
        ended = subprocess.run(
            argv, cwd=self.root, env=self.env, input=stdin, capture_output=True, encoding="utf-8", errors="replace",
            check=False, timeout=SECONDS,
        )  # fmt: skip
        return Outcome(ended.returncode, ended.stdout, ended.stderr)

    def fork(self, task: str, *arguments: str, closed_stdin: bool = False, stdout: int | None = None) -> Outcome:
        """Run a task in a fork of this checkout's server; the output is returned unless ``stdout`` is a descriptor."""
        with Path(os.devnull).open("rb") as null, TemporaryFile() as out, TemporaryFile() as err:
            stdin = None if closed_stdin else null.fileno()
            streams = (stdin, out.fileno() if stdout is None else stdout, err.fileno())
            code = self._server.run([task, *arguments], streams, SECONDS)
            return Outcome(code, _text(out), _text(err))

    @cached_property
    def _server(self) -> ForkServer:
        return ForkServer(self.root, self.env, self.prefix)

    @contextmanager
    def serving(self) -> Iterator[Checkout]:
        """This checkout; its server ends with the block."""
        try:
            yield self
        finally:
            if "_server" in self.__dict__:
                self._server.close()


@dataclass(frozen=True)
class Usual:
    """The outcomes of the tasks in a checkout without a special condition."""

    checkout: Checkout
    _known: dict[str, Outcome] = field(default_factory=dict)

    def __call__(self, task: str) -> Outcome:
        """The outcome of a task."""
        if task not in self._known:
            self._known[task] = self.checkout.fork(task, *TASKS[task])
        return self._known[task]


def require_clean(outcome: Outcome) -> None:
    """Assert that a task has ended without a stack trace, with one error message if it has failed."""
    assert "Traceback" not in outcome.stderr, outcome.stderr
    assert "Exception ignored" not in outcome.stderr, outcome.stderr
    assert outcome.code in {0, 1, 2}, outcome
    assert outcome.errors == (outcome.code > 0), outcome


def require_output_error(ended: Outcome, usual: Outcome, number: int) -> None:
    """Assert that a task that prints something has reported this error of the standard output."""
    require_clean(ended)
    if usual.stdout:
        assert ended.code == 1
        assert f"error: cannot write the standard output: {os.strerror(number)}\n  fix: " in ended.stderr
