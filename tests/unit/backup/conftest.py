"""Fixtures: settings in a folder of the test, and a fake of the one function that runs programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from netmon_backup import commands
from netmon_backup import settings as module
from netmon_backup.commands import Result
from netmon_backup.settings import Settings

SYSTEM = "7301"
Answer = Callable[[list[str]], Result]


@dataclass
class Programs:
    """A fake of `commands.run`: the first matching answer of the latest scripted ones; else success without output."""

    calls: list[list[str]] = field(default_factory=list)
    environments: list[Mapping[str, str]] = field(default_factory=list)
    inputs: list[bytes] = field(default_factory=list)
    _script: list[tuple[tuple[str, ...], Answer]] = field(default_factory=list)

    def on(self, *words: str, stdout: Any = "", stderr: str = "", code: int = 0) -> None:
        """Script the result of programs whose arguments contain ``words``; JSON, if ``stdout`` is no text."""
        text = stdout if isinstance(stdout, str) else json.dumps(stdout)
        self.answer(*words, by=lambda _: Result(code, text, stderr))

    def answer(self, *words: str, by: Answer) -> None:
        """Like `on`, with a function of the arguments."""
        self._script.insert(0, (words, by))

    def __call__(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: bytes = b"", **_: object
    ) -> Result:
        """Run nothing, and return the scripted result."""
        self.calls.append(list(argv))
        self.environments.append(env or {})
        self.inputs.append(stdin)
        for words, answer in self._script:
            if all(any(word in each for each in argv) for word in words):
                return answer(list(argv))
        return Result(0, "", "")

    def ran(self, *words: str) -> list[list[str]]:
        """The calls whose arguments contain ``words``."""
        return [argv for argv in self.calls if all(any(word in each for each in argv) for word in words)]


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Programs:
    fake = Programs()
    monkeypatch.setattr(commands, "run", fake)
    return fake


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "key").write_text("a key\n")
    (tmp_path / "target").mkdir()
    monkeypatch.setattr(module, "LOCAL_MOUNT", str(tmp_path / "target"))
    return Settings(
        target="/mnt/backup", host="one", data=tmp_path / "data", secrets=tmp_path / "secrets",
        pgdata=tmp_path / "restore" / "18" / "docker",
    )  # fmt: skip


def summary(snapshot: str, added: int = 5) -> str:
    """The output of ``restic backup --json``."""
    return "\n".join(
        json.dumps(each)
        for each in (
            {"message_type": "status", "percent_done": 1},
            {"message_type": "summary", "snapshot_id": snapshot, "data_added_packed": added},
        )
    )


def snapshot(name: str, **tags: object) -> dict[str, Any]:
    """A snapshot as ``restic snapshots --json`` shows it."""
    return {"id": name, "tags": [f"{key}={value}" for key, value in tags.items()]}
