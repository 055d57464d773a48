"""Parse image contracts, `images/NAME/contract.yml`; images/README.md documents the format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from toolkit.core.errors import ToolkitError

FOLDER, FILE = "images", "contract.yml"


@dataclass(frozen=True)
class Config:
    """The expected configuration of the image (`docker image inspect`).

    ``user`` is ``UID:GID`` as the engine resolves it; ``ports`` and ``environment`` are minimum requirements.
    """

    user: str = "0:0"
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    workdir: str = ""
    stop_signal: str = "SIGTERM"
    volumes: frozenset[str] = frozenset()
    ports: frozenset[str] = frozenset()
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Config:
        """Parse the section ``config``."""
        kinds = {"entrypoint": tuple, "command": tuple, "volumes": frozenset, "ports": frozenset}
        return cls(**{key: kinds.get(key, lambda value: value)(value) for key, value in written.items()})


@dataclass(frozen=True)
class Folder:
    """A folder that the programs write to, with its owner (``UID:GID``) and mode in the image.

    If it is absent in the image, a volume mounted there belongs to root.
    """

    owner: str = "0:0"
    mode: int = 0o755
    absent: bool = False

    def writable_for(self, user: str) -> bool:
        """Whether a user (``UID:GID``) may create files in it."""
        (uid, gid), (owner, group) = user.split(":"), self.owner.split(":")
        shift = 6 if uid == owner else 3 if gid == group else 0
        return uid == "0" or self.mode >> shift & 0o3 == 0o3


@dataclass(frozen=True)
class LogFile:
    """A log file that the programs write in ``folder``, unless one of ``silenced_by`` applies.

    Each is the name of a variable, or the path of a mounted file.
    """

    of: str
    folder: str
    silenced_by: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """A start with the arguments ``given`` and variables, and its expected result.

    The entry script executes the program with arguments that match the pattern ``becomes`` and with the variables
    ``exports``, or it exits with the code ``exits``.
    """

    given: str
    environment: Mapping[str, str] = field(default_factory=dict)
    becomes: str = ""
    exports: tuple[str, ...] = ()
    exits: int = 0


@dataclass(frozen=True)
class Break:
    """Arguments that match the pattern ``given`` do not start the program, for the reason ``because``."""

    given: str
    because: str


@dataclass(frozen=True)
class Contract:
    """The properties of a published image that the stack relies on.

    Attributes:
        name: Its folder in `images/`.
        image: Its name and tag, without a registry.
        services: The services that run it, or whose image is built on it.
        base: The build argument of these services with the image, if it is a base image.
        builder: Whether it is only the base of a build stage, so that nothing of it runs.
        config: Its configuration.
        accounts: ``UID:GID`` by account name.
        programs: The programs in it that entry scripts, health checks and commands of this repository run.
        tasks: The programs in it that tasks run.
        missing: The programs that it does not have.
        commands: Shell commands that succeed in it, for options that not every version of a program supports.
        writes: The folders that its programs write to.
        log_files: The log files that its programs write.
        exported: Patterns of ``…_FILE`` variables whose content the entry script exports to the program.
        refused: Variables with which the entry script exits.
        program: The program that the cases start.
        files: Files that exist in each case.
        cases: Starts with their expected results.
        breaks: Starts that fail.
        exits_without: By service: the arguments of a start that exits if this service is unreachable.
        local: The differences of the local image: ``config``, ``program``.
    """

    name: str
    image: str
    services: tuple[str, ...]
    base: str
    builder: bool
    config: Config
    accounts: Mapping[str, str]
    programs: tuple[str, ...]
    tasks: tuple[str, ...]
    missing: tuple[str, ...]
    commands: tuple[str, ...]
    writes: Mapping[str, Folder]
    log_files: tuple[LogFile, ...]
    exported: tuple[str, ...]
    refused: tuple[str, ...]
    program: str
    files: tuple[str, ...]
    cases: tuple[Case, ...]
    breaks: tuple[Break, ...]
    exits_without: Mapping[str, str]
    local: Mapping[str, Any]

    @property
    def file(self) -> str:
        """Its path, relative to the checkout."""
        return f"{FOLDER}/{self.name}/{FILE}"

    def has(self, program: str) -> bool:
        """Whether the contract lists a program, by name or by path."""
        path = PurePosixPath(program)
        named = {path.name} if str(path.parent) in {"/bin", "/usr/bin", "/usr/local/bin"} else set()
        return bool({program, *named} & {*self.programs, *self.tasks})

    def of_local_image(self) -> Contract:
        """The contract of the local image that replaces the published one."""
        config = Config.read({**vars(self.config), **self.local.get("config", {})})
        changed = {"config": config, "program": self.local.get("program", self.program), "missing": ()}
        return Contract(**{**vars(self), **changed})

    @classmethod
    def read(cls, name: str, written: Mapping[str, Any]) -> Contract:
        """Parse the content of a contract file."""
        start, variables = written.get("start", {}), written.get("variables", {})
        folders = {
            path: Folder(spec.get("owner", "0:0"), int(spec.get("mode", "755"), 8), spec.get("absent", False))
            for path, spec in written.get("writes", {}).items()
        }
        return cls(
            name=name,
            image=written["image"],
            services=tuple(written["services"]),
            base=written.get("base", ""),
            builder=written.get("builder", False),
            config=Config.read(written.get("config", {})),
            accounts=written.get("accounts", {}),
            programs=tuple(written.get("programs", ())),
            tasks=tuple(written.get("tasks", ())),
            missing=tuple(written.get("missing", ())),
            commands=tuple(written.get("commands", ())),
            writes=folders,
            log_files=tuple(
                LogFile(log["of"], log["folder"], tuple(log["silenced_by"])) for log in written.get("log_files", ())
            ),
            exported=tuple(variables.get("exported", ())),
            refused=tuple(variables.get("refused", ())),
            program=start.get("program", ""),
            files=tuple(start.get("files", ())),
            cases=tuple(Case(**{**case, "exports": tuple(case.get("exports", ()))}) for case in start.get("cases", ())),
            breaks=tuple(Break(**each) for each in written.get("breaks", ())),
            exits_without=written.get("exits_without", {}),
            local=written.get("local", {}),
        )


def load(root: Path) -> list[Contract]:
    """Every contract of a checkout.

    Raises:
        ToolkitError: a contract cannot be read or is invalid.
    """
    found = []
    for path in sorted((root / FOLDER).glob(f"*/{FILE}")):
        fix = "python -m toolkit.validate reports the line"
        try:
            written = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
            found.append(Contract.read(path.parent.name, written))
        except (OSError, yaml.YAMLError) as error:
            raise ToolkitError(f"cannot read {path.relative_to(root)}", str(error), fix) from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            why = f"it does not have the format described in {FOLDER}/README.md"
            raise ToolkitError(f"cannot read {path.relative_to(root)}", why, fix) from error
    return found
