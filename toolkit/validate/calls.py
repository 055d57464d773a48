"""Which programs a service starts: by its command, its health check, and the scripts of this repository in both."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.images.contracts.contract import Contract
from toolkit.validate import shell
from toolkit.validate.checkout import Checkout, Configuration
from toolkit.validate.findings import Finding
from toolkit.validate.shell import ARGUMENTS, Call, Script

Place = Callable[[str], Finding]
"""Makes the finding of a problem, or of none, at one place."""


@dataclass(frozen=True)
class Start:
    """A program that a service starts: its words, the shell that does it (empty: the engine), and where it is said."""

    words: tuple[str, ...]
    shell: str
    guard: frozenset[str]
    place: Place

    @property
    def program(self) -> str:
        """Its name, path, or a pattern of one."""
        return self.words[0]


@dataclass(frozen=True)
class Mounted:
    """A script of this repository that a service runs; ``executable`` where nothing needs to be done for that."""

    file: str
    script: Script
    executable: bool = True

    def place(self, line: int) -> Place:
        """The place of one of its lines."""
        return lambda problem: Finding(self.file, line, problem)


class Calls:
    """What a service of a configuration starts.

    ``starts`` are programs of its image, ``scripts`` those of this repository.
    """

    def __init__(self, checkout: Checkout, configuration: Configuration, name: str, contract: Contract) -> None:
        self._checkout, self._configuration, self._name = checkout, configuration, name
        self._contract = contract
        self.service: Mapping[str, Any] = configuration.services[name]
        self.scripts: dict[str, Mounted] = {}
        self.starts: list[Start] = []
        self._run(self.command, self._place("entrypoint" if self.service.get("entrypoint") else "command"))
        self._check()
        for task in contract.tasks:
            if self.file_at(task):
                self._run((task,), lambda problem: Finding(contract.file, 1, problem))

    @property
    def own_entrypoint(self) -> bool:
        """Whether the service starts with something else than the image does."""
        return tuple(self.service.get("entrypoint") or self._contract.config.entrypoint) != (
            self._contract.config.entrypoint
        )

    @property
    def command(self) -> tuple[str, ...]:
        """The words that the engine starts; empty where an image of this repository decides them."""
        entrypoint, command = self.service.get("entrypoint"), self.service.get("command") or ()
        if entrypoint:
            return (*entrypoint, *command)
        if "build" in self.service:
            return ()
        config = self._contract.config
        return (*config.entrypoint, *(command or config.command))

    def reaches(self, guard: frozenset[str]) -> bool:
        """Whether what is under these conditions is done: each variable that they name is given to the service."""
        given = self.service.get("environment") or {}
        return all(condition[1:] in given for condition in guard if condition.startswith("$"))

    def _place(self, key: str) -> Place:
        keys = ("services", self._name, *key.split("."))
        return lambda problem: self._checkout.place(self._configuration.files, *keys, problem=problem)

    def _check(self) -> None:
        place = self._place("healthcheck.test")
        match self.service.get("healthcheck", {}).get("test"):
            case ["CMD", *words]:
                self._run(words, place)
            case ["CMD-SHELL", text]:
                self._run(("/bin/sh", "-c", text), place)

    def _run(self, words: Sequence[str], place: Place, by: str = "", guard: frozenset[str] = frozenset()) -> None:
        """Note a program; go on in what it runs in turn."""
        if not words:
            return
        if file := self.file_at(words[0]):
            self._script(file, words[1:])
            return
        self.starts.append(Start(tuple(words), by, guard, place))
        name = words[0].rpartition("/")[2]
        if name in shell.SHELLS and len(words) > 1:
            if file := self.file_at(words[1]):
                self._script(file, words[2:], name)
            elif script := shell.nested(Call(tuple(words), 1)):
                self._body(script, name, (), lambda _line: place, guard)
        elif words[0] in self._entry_scripts and len(words) > 1 and not words[1].startswith("-"):
            self._run(words[1:], place, by, guard)

    @property
    def _entry_scripts(self) -> set[str]:
        entrypoint = self._contract.config.entrypoint
        return {entrypoint[0], entrypoint[0].rpartition("/")[2]} if entrypoint else set()

    def _read(self, file: str) -> Script:
        return shell.parse((self._checkout.root / file).read_text(encoding="utf-8"))

    def _script(self, file: str, arguments: Sequence[str], interpreter: str = "") -> None:
        if file in self.scripts:
            return
        script = self._read(file)
        executable = bool(interpreter) or os.access(self._checkout.root / file, os.X_OK)
        mounted = self.scripts[file] = Mounted(file, script, executable)
        if not interpreter:
            self.starts += [
                Start((word,), "", frozenset(), mounted.place(1)) for word in script.shebang or ("/bin/sh",)
            ]
        self._body(script, interpreter or script.shell, arguments, mounted.place, frozenset())

    def _body(
        self,
        script: Script,
        interpreter: str,
        arguments: Sequence[str],
        place: Callable[[int], Place],
        guard: frozenset[str],
    ) -> None:
        sourced = [file for call in script.calls if call.words[0] in {".", "source"} for file in self._files(call)]
        functions = set(script.functions)
        for file in sourced:
            mounted = self.scripts.setdefault(file, Mounted(file, self._read(file)))
            functions |= mounted.script.functions
            self._body(mounted.script, interpreter, (), mounted.place, guard)
        for call in script.calls:
            if call.words[0] in functions or call.words[0] in shell.BUILTINS[interpreter]:
                continue
            if not self.reaches(guard | call.guard):
                continue
            words = [word for each in call.words for word in (arguments if each == ARGUMENTS else (each,))]
            self._run(words, place(call.line), interpreter, guard | call.guard)

    def _files(self, call: Call) -> list[str]:
        return [file for word in call.words[1:2] if (file := self.file_at(word))]

    def file_at(self, path: str) -> str:
        """The file of this repository that a service mounts at a path; empty where there is none."""
        for mount in self.service.get("volumes", ()):
            target, source = Path(mount["target"]), Path(mount.get("source", ""))
            if source.is_relative_to(self._checkout.root) and Path(path).is_relative_to(target):
                found = source / Path(path).relative_to(target)
                return str(found.relative_to(self._checkout.root)) if found.is_file() else ""
        return ""
