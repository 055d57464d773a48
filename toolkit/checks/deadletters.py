"""The dead-lettered messages of the application, without the settings of targets, which may be secret."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, NamedTuple

from toolkit.checkout import credentials
from toolkit.checkout.project import Project
from toolkit.core import console
from toolkit.core.errors import ToolkitError
from toolkit.engine import stack_http
from toolkit.engine.compose import Docker
from toolkit.engine.stack_http import Request

QUEUE = "probes.dead"
URL = f"http://rabbitmq:15672/api/queues/%2F/{QUEUE}/get"
ADMINISTRATOR = "rabbitmq_password"
REASONS = ("x-reason", "x-first-death-reason")
"""The headers with the reason: of the worker, or of RabbitMQ."""


class DeadLetter(NamedTuple):
    """A dead-lettered message; a message that is no job has no ids."""

    reason: str
    probe: str
    target: str
    requested: str
    size: str

    @classmethod
    def read(cls, message: Mapping[str, Any]) -> DeadLetter:
        """A message as the management API returns it."""
        headers = message.get("properties", {}).get("headers", {})
        reason = next((str(headers[name]) for name in REASONS if name in headers), "-")
        try:
            job = json.loads(message["payload"])
        except ValueError:
            job = None
        found = job if isinstance(job, dict) else {}
        probe, target, requested = (str(found.get(name) or "-") for name in ("id", "target", "requested_at"))
        return cls(reason, probe, target, requested, f"{message['payload_bytes']} B")


def dead_letters(project: Project, docker: Docker, count: int) -> None:
    """Print the oldest ``count`` messages of the dead-letter queue, which stay there.

    Raises:
        ToolkitError: RabbitMQ does not answer, or does not accept the password of its administrator.
    """
    secret = project.secrets[ADMINISTRATOR]
    login = b64encode(f"{secret.user}:{credentials.load(project, secret)}".encode()).decode()
    question = {"count": count, "ackmode": "ack_requeue_true", "encoding": "auto"}
    request = Request.post(URL, question, headers={"Authorization": f"Basic {login}"})
    [answer] = stack_http.fetch(docker, [request])
    if answer.status == 404:
        raise ToolkitError(f"there is no queue {QUEUE}", "the worker has not declared it yet", "run: invoke up")
    if not answer.ok:
        fix = "invoke secrets.check names the password" if answer.status == 401 else "run: invoke status"
        raise ToolkitError(f"cannot read {QUEUE}", answer.problem, fix)
    found = [DeadLetter.read(message) for message in answer.json()]
    if not found:
        console.say(f"{QUEUE} is empty")
        return
    console.table(DeadLetter._fields, found)
