"""The programs of a stack as they answer from inside, for the tests of what asks them."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.unit.toolkit.conftest import FakeDocker
from toolkit.checkout.project import Project
from toolkit.engine.compose import Result
from toolkit.observe.stack import Stack

Parameters = dict[str, str]
Answer = Callable[[Parameters], Any]


@dataclass
class Programs:
    """Answers by service and path; an int is a status, anything else a document or a text of status 200."""

    docker: FakeDocker
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.docker.answer("compose", "exec", "worker", "python", by=self._execute)

    def on(self, address: str, answer: Any) -> None:
        """Answer ``service/path`` with a document, or with what a function makes of the parameters."""
        self.answers[address] = answer

    def _execute(self, _argv: list[str]) -> Result:
        literal = self.docker.inputs[-1].rpartition("main(json.loads(")[2].strip().removesuffix("))")
        requests = json.loads(ast.literal_eval(literal))
        self.asked += requests
        return self.docker.result([self._answer(request) for request in requests])

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        parts = urlsplit(request["url"])
        answer = self.answers.get(f"{parts.hostname}{parts.path}", 404)
        if callable(answer):
            answer = answer({name: values[0] for name, values in parse_qs(parts.query).items()})
        status, document = (answer, "") if isinstance(answer, int) else (200, answer)
        body = document if isinstance(document, str) else json.dumps(document)
        return {"status": status, "headers": {}, "body": body, "error": ""}


def prometheus(data: Any) -> dict[str, Any]:
    """An answer of Prometheus' API."""
    return {"status": "success", "data": data}


def stack(docker: FakeDocker, root: Path, *running: str, absent: tuple[str, ...] = ()) -> Stack:
    """A stack in which these services run."""
    project = Project(root, Project.load().data)
    return Stack(project, docker.cli, {name: {} for name in running}, frozenset(running), absent)
