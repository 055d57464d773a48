"""Fake responses of the services of a stack to requests from inside it."""

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
    """Responses by service and path; an int is a status, anything else a document or a text with status 200."""

    docker: FakeDocker
    answers: dict[str, Any] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.docker.answer("exec", "worker", "python", by=self._execute)

    def on(self, address: str, answer: Any) -> None:
        """Script the response for ``service/path``: a document, or a function of the query parameters."""
        self.answers[address] = answer

    def _execute(self, _argv: list[str]) -> Result:
        literal = self.docker.inputs[-1].rpartition("main(json.loads(")[2].strip().removesuffix("))")
        requests = json.loads(ast.literal_eval(literal))
        return self.docker.result([self._answer(request) for request in requests])

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        self.requests.append(request)
        parts = urlsplit(request["url"])
        answer = self.answers.get(f"{parts.hostname}{parts.path}", 404)
        if callable(answer):
            answer = answer({name: values[0] for name, values in parse_qs(parts.query).items()})
        status, document = (answer, "") if isinstance(answer, int) else (200, answer)
        body = document if isinstance(document, str) else json.dumps(document)
        return {"status": status, "headers": {}, "body": body, "error": ""}


def prometheus(data: Any) -> dict[str, Any]:
    """A response of the Prometheus API."""
    return {"status": "success", "data": data}


def stack(docker: FakeDocker, root: Path, *running: str, absent: tuple[str, ...] = ()) -> Stack:
    """A stack with these running services."""
    project = Project(root, Project.load().data)
    return Stack(project, docker.cli, {name: {} for name in running}, frozenset(running), absent)
