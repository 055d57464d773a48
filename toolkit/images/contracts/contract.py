"""A contract as it is written in `images/NAME/contract.yml`; images/README.md has the format."""

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
    """The configuration of the image (`docker image inspect`).

    ``user`` is ``UID:GID`` as the engine resolves it; ``ports`` and ``environment`` are those that matter here.
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
        """The configuration with these keys."""
        kinds = {"entrypoint": tuple, "command": tuple, "volumes": frozenset, "ports": frozenset}
        return cls(**{key: kinds.get(key, lambda value: value)(value) for key, value in written.items()})


@dataclass(frozen=True)
class Folder:
    """A folder that is written to, with its owner (``UID:GID``) and mode in the image.

    One that is absent there belongs to root once it is a volume.
    """

    owner: str = "0:0"
    mode: int = 0o755
    absent: bool = False

    def writable_for(self, user: str) -> bool:
        """Whether a user (``UID:GID``) may make files in it."""
        (uid, gid), (owner, group) = user.split(":"), self.owner.split(":")
        shift = 6 if uid == owner else 3 if gid == group else 0
        return uid == "0" or self.mode >> shift & 0o3 == 0o3


@dataclass(frozen=True)
class LogFile:
    """A log that the programs write into ``folder``, unless one of ``silenced_by`` is given.

    That is the name of a variable, or the path of a file that is mounted.
    """

    of: str
    folder: str
    silenced_by: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """A start with ``given`` arguments and variables, and what comes of it.

    The program is executed with words that match the pattern ``becomes`` and with the variables ``exports``, or the
    entry script exits with the code ``exits``.
    """

    given: str
    environment: Mapping[str, str] = field(default_factory=dict)
    becomes: str = ""
    exports: tuple[str, ...] = ()
    exits: int = 0


@dataclass(frozen=True)
class Break:
    """Words that match the pattern ``given`` make no start."""

    given: str
    because: str


@dataclass(frozen=True)
class Contract:
    """What the stack relies on in one published image.

    Attributes:
        name: Its folder in `images/`.
        image: Its name and tag, without a registry.
        services: The services that run it, or whose image is built on it.
        base: The build argument of these services that names the image, where it is built on.
        builder: Whether that is for a stage of the build alone, of which nothing runs.
        config: Its configuration.
        accounts: ``UID:GID`` by name.
        programs: Those that entry scripts, health checks and commands of this repository start in it.
        tasks: Those that tasks start in it.
        missing: Those that it is known not to have.
        commands: Commands of a shell that succeed in it: options that not every version of a program has.
        writes: The folders that its programs write to.
        log_files: The log files that they write.
        exported: Patterns of ``…_FILE`` variables whose value the entry script puts into the program's environment.
        refused: Variables that the entry script exits on.
        program: What the cases end in.
        files: Files that are there in each case.
        cases: Starts.
        breaks: Starts that fail.
        exits_without: Arguments of a start that ends where a service is not reached, by that service.
        local: What is different in the local image: ``config``, ``program``.
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
        """Where it is written, from the checkout."""
        return f"{FOLDER}/{self.name}/{FILE}"

    def has(self, program: str) -> bool:
        """Whether the image is known to have a program, called by name or by path."""
        path = PurePosixPath(program)
        named = {path.name} if str(path.parent) in {"/bin", "/usr/bin", "/usr/local/bin"} else set()
        return bool({program, *named} & {*self.programs, *self.tasks})

    def of_local_image(self) -> Contract:
        """The contract of the image that is built here in the place of the published one."""
        config = Config.read({**vars(self.config), **self.local.get("config", {})})
        changed = {"config": config, "program": self.local.get("program", self.program), "missing": ()}
        return Contract(**{**vars(self), **changed})

    @classmethod
    def read(cls, name: str, written: Mapping[str, Any]) -> Contract:
        """The contract in a file's content."""
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
        ToolkitError: one of them cannot be read.
    """
    found = []
    for path in sorted((root / FOLDER).glob(f"*/{FILE}")):
        fix = "python -m toolkit.validate names the line"
        try:
            written = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
            found.append(Contract.read(path.parent.name, written))
        except (OSError, yaml.YAMLError) as error:
            raise ToolkitError(f"cannot read {path.relative_to(root)}", str(error), fix) from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            why = f"it does not have the form that {FOLDER}/README.md describes"
            raise ToolkitError(f"cannot read {path.relative_to(root)}", why, fix) from error
    return found
