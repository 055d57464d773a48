"""Inspect an image against its contract: its configuration, its files, and a few test runs.

The inspection works without a shell in the image: files are copied out, programs are started directly.
"""

from __future__ import annotations

import io
import json
import re
import shlex
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any
from uuid import uuid4

from toolkit.engine.compose import Docker, Result
from toolkit.engine.timeouts import TimedOutError
from toolkit.images.contracts.contract import FOLDER, Case, Contract

STUB = f"{FOLDER}/stub.sh"
SCRIPTS = "/opt/netmon"
"""The folder in which the scripts of this repository are mounted."""
RUN_SECONDS = 60.0
"""The timeout of each run; longer than the time for which a program waits for a missing service."""
NOT_FOUND = 127
"""The exit code of `docker run`, and of a shell, if the image lacks the program."""
MAX_SHOWN = 300
"""Maximum characters of a command line in a message."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on one clause of a contract; ``problem`` is empty if the image conforms."""

    what: str
    problem: str = ""


@dataclass(frozen=True)
class Image:
    """An image to inspect: its name, the user (``UID:GID``) of its service, and its contract."""

    name: str
    user: str
    contract: Contract


def inspect(docker: Docker, image: Image) -> list[Verdict]:
    """The verdict on every clause of the contract, in the order of the file.

    Raises:
        ToolkitError: the engine does not answer.
    """
    inspection = _Inspection(docker, image)
    return [verdict for clause in CLAUSES for verdict in clause(inspection)]


class _Inspection:
    """The configuration and the files of an image, and a way to run it."""

    def __init__(self, docker: Docker, image: Image) -> None:
        self.docker, self.image, self.contract = docker, image, image.contract
        found = docker.check(docker("image", "inspect", image.name), f"inspect {image.name}").stdout
        self.config: dict[str, Any] = json.loads(found)[0]["Config"]
        self.files: dict[str, tuple[str, int, str]] = {}
        self._copy(("/etc/passwd", "/etc/group", *self.contract.writes))

    def _copy(self, paths: Sequence[str]) -> None:
        """Copy files and folders out of the image: owner, mode and, for a file, its text."""
        created = self.docker("create", self.image.name, "none")  # an image without a command needs a placeholder
        container = self.docker.check(created, f"open {self.image.name}").stdout.strip()
        try:
            for path in paths:
                result = self.docker("cp", "--follow-link", f"{container}:{path}", "-")
                if result.code == 0:
                    with tarfile.open(fileobj=io.BytesIO(result.stdout.encode()), mode="r|") as archive:
                        entry = next(iter(archive))
                        stream = archive.extractfile(entry) if entry.isreg() else None
                        text = stream.read().decode() if stream else ""
                        self.files[path] = f"{entry.uid}:{entry.gid}", entry.mode & 0o7777, text
        finally:
            self.docker("rm", "--force", "--volumes", container)

    def accounts(self, file: str = "/etc/passwd") -> dict[str, list[str]]:
        """The fields of each line in /etc/passwd or /etc/group, by name."""
        lines = self.files.get(file, ("", 0, ""))[2].splitlines()
        return {fields[0]: fields for line in lines if len(fields := line.split(":")) > 2}

    @property
    def user(self) -> str:
        """The user of the image as the engine resolves it."""
        name, _, group = self.config.get("User", "").partition(":")
        account = next((each for each in self.accounts().values() if (name or "0") in {each[0], each[2]}), None)
        uid = account[2] if account else name or "0"
        gid = self.accounts("/etc/group").get(group, ["", "", group])[2] or (account[3] if account else "0")
        return f"{uid}:{gid}"

    def run(self, *words: str, flags: Sequence[str] = ()) -> Result | None:
        """Run the image without a network as its service's user; None if it exceeded the timeout."""
        container = f"contract-{self.contract.name}-{uuid4().hex[:8]}"
        call = ("run", "--rm", "--name", container, "--network", "none", "--user", self.image.user, *flags)
        try:
            return self.docker(*call, self.image.name, *words, timeout=RUN_SECONDS)
        except TimedOutError:
            self.docker("rm", "--force", "--volumes", container)
            return None


def _compare(what: str, wanted: object, found: object) -> Verdict:
    return Verdict(what, "" if wanted == found else f"{_formatted(found)} instead of {_formatted(wanted)}")


def _formatted(value: object) -> str:
    if isinstance(value, frozenset):
        value = sorted(value)
    return " ".join(map(str, value)) or "nothing" if isinstance(value, (tuple, list)) else str(value) or "nothing"


def _config(inspection: _Inspection) -> Iterator[Verdict]:
    wanted, found = inspection.contract.config, inspection.config
    yield _compare("user", wanted.user, inspection.user)
    yield _compare("entry point", wanted.entrypoint, tuple(found.get("Entrypoint") or ()))
    yield _compare("command", wanted.command, tuple(found.get("Cmd") or ()))
    if wanted.workdir:
        yield _compare("working directory", wanted.workdir, found.get("WorkingDir") or "/")
    yield _compare("stop signal", wanted.stop_signal, found.get("StopSignal") or "SIGTERM")
    yield _compare("volumes", wanted.volumes, frozenset(found.get("Volumes") or ()))
    closed = wanted.ports - frozenset(found.get("ExposedPorts") or ())
    yield Verdict("ports", (closed and f"does not expose {_formatted(closed)}") or "")
    has = dict(line.split("=", 1) for line in found.get("Env") or ())
    for name, value in wanted.environment.items():
        yield _compare(f"variable {name}", value, has.get(name, ""))


def _accounts(inspection: _Inspection) -> Iterator[Verdict]:
    for name, ids in inspection.contract.accounts.items():
        fields = inspection.accounts().get(name)
        yield _compare(f"account {name}", ids, f"{fields[2]}:{fields[3]}" if fields else "")


def _folders(inspection: _Inspection) -> Iterator[Verdict]:
    for path, folder in inspection.contract.writes.items():
        there = inspection.files.get(path)
        if folder.absent or there is None:
            yield Verdict(path, "is missing" if there is None and not folder.absent else "")
        else:
            wanted, found = (folder.owner, f"{folder.mode:04o}"), (there[0], f"{there[1]:04o}")
            yield _compare(path, wanted, found)


def _programs(inspection: _Inspection) -> Iterator[Verdict]:
    contract = inspection.contract
    own = PurePosixPath(SCRIPTS)
    wanted = [
        name for name in dict.fromkeys((*contract.programs, *contract.tasks)) if own not in PurePosixPath(name).parents
    ]
    names = [*wanted, *contract.missing]
    if "sh" in names:
        search = 'for name; do command -v "$name" >/dev/null || echo "$name"; done'
        result = inspection.run("-c", search, "sh", *names, flags=("--entrypoint", "sh"))
        absent = set(result.stdout.split()) if result and result.code == 0 else set(names)
    else:
        results = {name: inspection.run("--version", flags=("--entrypoint", name)) for name in names}
        absent = {name for name, result in results.items() if result and result.code == NOT_FOUND}
    for name in wanted:
        yield Verdict(f"program {name}", "is missing" if name in absent else "")
    for name in contract.missing:
        yield Verdict(f"no program {name}", "" if name in absent else "exists")


def _commands(inspection: _Inspection) -> Iterator[Verdict]:
    commands = inspection.contract.commands
    if not commands:
        return
    each = 'for line; do sh -c "$line" >/dev/null 2>&1 </dev/null || echo "$line"; done'
    result = inspection.run("-c", each, "sh", *commands, flags=("--entrypoint", "sh"))
    failed = result.stdout.splitlines() if result and result.code == 0 else commands
    for command in commands:
        yield Verdict(command, "fails" if command in failed else "")


def _starts(inspection: _Inspection) -> Iterator[Verdict]:
    contract, stub = inspection.contract, inspection.docker.root / STUB
    mounts = [f"--volume={stub}:{path}:ro" for path in (contract.program, *contract.files) if path]
    for case in contract.cases:
        variables = [f"--env={name}={value}" for name, value in case.environment.items()]
        what = " ".join(["start", *(name for name in case.environment), f"{case.given}"]).rstrip()
        yield Verdict(what, _start_problem(case, inspection.run(*shlex.split(case.given), flags=(*mounts, *variables))))


def _start_problem(case: Case, result: Result | None) -> str:
    """The difference between a start and its case; empty if there is none."""
    if result is None:
        return f"did not finish within {RUN_SECONDS:g} s"
    started = re.search(r"^started: (.*)$", result.stdout, re.MULTILINE)
    if case.exits:
        return "" if result.code == case.exits and not started else f"exits with {result.code} instead of {case.exits}"
    if not started:
        output = " ".join((result.stderr or result.stdout).split())
        return f"the program is not started: {_shortened(output)}"
    if case.becomes and not fnmatchcase(started[1].rstrip(), case.becomes):
        return f"{_shortened(started[1])} instead of {case.becomes}"
    exported = set(re.findall(r"^(?:export|declare -x) (\w+)=", result.stdout, re.MULTILINE))
    absent = set(case.exports) - exported
    return f"{_formatted(sorted(absent))} is not in the environment" if absent else ""


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN // 2]} … {text[-MAX_SHOWN // 2 :]}"


def _dependencies(inspection: _Inspection) -> Iterator[Verdict]:
    for service, arguments in inspection.contract.exits_without.items():
        result = inspection.run(*shlex.split(arguments))
        yield Verdict(f"exits without {service}", "" if result and result.code else "does not exit")


CLAUSES: tuple[Callable[[_Inspection], Iterator[Verdict]], ...] = (
    _config, _accounts, _folders, _programs, _commands, _starts, _dependencies,
)  # fmt: skip
