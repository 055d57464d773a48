"""The one place that runs programs; tests patch `run` and `start`."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from netmon_backup.errors import BackupError

_running: set[subprocess.Popen[bytes]] = set()


@dataclass(frozen=True)
class Result:
    """A finished program: its exit code and its output."""

    code: int
    stdout: str
    stderr: str

    @property
    def reason(self) -> str:
        """The last lines of the error output."""
        lines = [line.strip() for line in (self.stderr or self.stdout).splitlines() if line.strip()]
        return "; ".join(lines[-3:]) or f"exit code {self.code}"


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes = b"",
    timeout: float | None = None,
) -> Result:
    """Run a program to completion.

    Args:
        argv: Program and arguments; no shell is involved.
        env: Variables besides those of this process.
        cwd: The working directory.
        stdin: The standard input.
        timeout: Seconds until the program is killed, which is exit code 124.

    Raises:
        BackupError: the program is not installed.
    """
    process = start(argv, env=env, cwd=cwd, stdin=subprocess.PIPE)
    _running.add(process)
    try:
        stdout, stderr = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        stdout, stderr = process.communicate()
        # What it has reported until then is the reason: restic retries whatever a server answers.
        reported = stderr.decode(errors="replace")
        return Result(124, stdout.decode(errors="replace"), f"{reported}\nno answer within {timeout:g} s".lstrip())
    finally:
        _running.discard(process)
        if process.poll() is None:
            process.kill()
            process.wait()
    return Result(process.returncode, stdout.decode(errors="replace"), stderr.decode(errors="replace"))


def start(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a program whose output is captured.

    Raises:
        BackupError: the program is not installed.
    """
    try:
        return subprocess.Popen(
            argv,
            cwd=cwd,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
        )
    except FileNotFoundError as error:
        raise BackupError(f"cannot run {argv[0]}", "the program is not in the image") from error


def terminate(processes: Iterable[subprocess.Popen[bytes]] = ()) -> None:
    """Terminate programs (default: all that `run` is waiting for), so that this process can exit."""
    for process in list(processes) or list(_running):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
