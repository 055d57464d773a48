"""Programs that a service starts: its command, its health check, and the scripts of this repository that both run."""

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
"""Returns the finding for a problem (empty: none) at one place."""


@dataclass(frozen=True)
class Start:
    """A program that a service starts: its words, the shell that starts it (empty: the engine), and its place."""

    words: tuple[str, ...]
    shell: str
    guard: frozenset[str]
    place: Place

    @property
    def program(self) -> str:
        """The program's name, path, or a pattern of one."""
        return self.words[0]


@dataclass(frozen=True)
class MountedScript:
    """A script of this repository that a service runs; ``executable`` unless its mode forbids a direct start."""

    file: str
    script: Script
    executable: bool = True

    def place(self, line: int) -> Place:
        """The place of a line of the script."""
        return lambda problem: Finding(self.file, line, problem)


class Calls:
    """The programs of its image (``starts``) and of this repository (``scripts``) that a service starts."""

    def __init__(self, checkout: Checkout, configuration: Configuration, name: str, contract: Contract) -> None:
        self._checkout, self._configuration, self._name = checkout, configuration, name
        self._contract = contract
        self.service: Mapping[str, Any] = configuration.services[name]
        self.scripts: dict[str, MountedScript] = {}
        self.starts: list[Start] = []
        self._collect(self.command, self._place("entrypoint" if self.service.get("entrypoint") else "command"))
        self._collect_health_check()
        for task in contract.tasks:
            if self.file_at(task):
                self._collect((task,), lambda problem: Finding(contract.file, 1, problem))

    @property
    def overrides_entrypoint(self) -> bool:
        """Whether the service overrides the image's entry point."""
        return tuple(self.service.get("entrypoint") or self._contract.config.entrypoint) != (
            self._contract.config.entrypoint
        )

    @property
    def command(self) -> tuple[str, ...]:
        """The words of the container's main process; empty where an image built from this repository sets them."""
        entrypoint, command = self.service.get("entrypoint"), self.service.get("command") or ()
        if entrypoint:
            return (*entrypoint, *command)
        if "build" in self.service:
            return ()
        config = self._contract.config
        return (*config.entrypoint, *(command or config.command))

    def satisfies(self, guard: frozenset[str]) -> bool:
        """Whether commands under these conditions run: the service sets every variable that they name."""
        given = self.service.get("environment") or {}
        return all(condition[1:] in given for condition in guard if condition.startswith("$"))

    def _place(self, key: str) -> Place:
        keys = ("services", self._name, *key.split("."))
        return lambda problem: self._checkout.place(self._configuration.files, *keys, problem=problem)

    def _collect_health_check(self) -> None:
        place = self._place("healthcheck.test")
        match self.service.get("healthcheck", {}).get("test"):
            case ["CMD", *words]:
                self._collect(words, place)
            case ["CMD-SHELL", text]:
                self._collect(("/bin/sh", "-c", text), place)

    def _collect(self, words: Sequence[str], place: Place, by: str = "", guard: frozenset[str] = frozenset()) -> None:
        """Record a program, and the programs that it starts."""
        if not words:
            return
        if file := self.file_at(words[0]):
            self._collect_script(file, words[1:])
            return
        self.starts.append(Start(tuple(words), by, guard, place))
        name = words[0].rpartition("/")[2]
        if name in shell.SHELLS and len(words) > 1:
            if file := self.file_at(words[1]):
                self._collect_script(file, words[2:], name)
            elif script := shell.inline_script(Call(tuple(words), 1)):
                self._collect_body(script, name, (), lambda _line: place, guard)
        elif words[0] in self._entry_scripts and len(words) > 1 and not words[1].startswith("-"):
            self._collect(words[1:], place, by, guard)

    @property
    def _entry_scripts(self) -> set[str]:
        entrypoint = self._contract.config.entrypoint
        return {entrypoint[0], entrypoint[0].rpartition("/")[2]} if entrypoint else set()

    def _read(self, file: str) -> Script:
        return shell.parse((self._checkout.root / file).read_text(encoding="utf-8"))

    def _collect_script(self, file: str, arguments: Sequence[str], interpreter: str = "") -> None:
        if file in self.scripts:
            return
        script = self._read(file)
        executable = bool(interpreter) or os.access(self._checkout.root / file, os.X_OK)
        mounted = self.scripts[file] = MountedScript(file, script, executable)
        if not interpreter:
            self.starts += [
                Start((word,), "", frozenset(), mounted.place(1)) for word in script.shebang or ("/bin/sh",)
            ]
        self._collect_body(script, interpreter or script.shell, arguments, mounted.place, frozenset())

    def _collect_body(
        self,
        script: Script,
        interpreter: str,
        arguments: Sequence[str],
        place: Callable[[int], Place],
        guard: frozenset[str],
    ) -> None:
        sourced = [
            file for call in script.calls if call.words[0] in {".", "source"} for file in self._sourced_files(call)
        ]
        functions = set(script.functions)
        for file in sourced:
            mounted = self.scripts.setdefault(file, MountedScript(file, self._read(file)))
            functions |= mounted.script.functions
            self._collect_body(mounted.script, interpreter, (), mounted.place, guard)
        for call in script.calls:
            if call.words[0] in functions or call.words[0] in shell.BUILTINS[interpreter]:
                continue
            if not self.satisfies(guard | call.guard):
                continue
            words = [word for each in call.words for word in (arguments if each == ARGUMENTS else (each,))]
            self._collect(words, place(call.line), interpreter, guard | call.guard)

    def _sourced_files(self, call: Call) -> list[str]:
        return [file for word in call.words[1:2] if (file := self.file_at(word))]

    def file_at(self, path: str) -> str:
        """The file of this repository that the service mounts at ``path``; empty if none."""
        for mount in self.service.get("volumes", ()):
            target, source = Path(mount["target"]), Path(mount.get("source", ""))
            if source.is_relative_to(self._checkout.root) and Path(path).is_relative_to(target):
                found = source / Path(path).relative_to(target)
                return str(found.relative_to(self._checkout.root)) if found.is_file() else ""
        return ""
