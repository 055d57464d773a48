"""Silences in Alertmanager: alerts that something deliberate causes are not sent while it is done."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from toolkit.compose import Docker
from toolkit.errors import ToolkitError
from toolkit.inside import Request, Response, fetch
from toolkit.observe.stack import url


def create(docker: Docker, matchers: Mapping[str, str], length: timedelta, why: str) -> str:
    """Silence the alerts whose labels match, from now on and for ``length`` at most.

    Args:
        docker: Docker in the project's folder.
        matchers: For each label a regular expression, anchored.
        length: After which the silence ends by itself.
        why: What Alertmanager shows beside it.

    Returns:
        The silence's id.

    Raises:
        ToolkitError: Alertmanager does not take it.
    """
    now = datetime.now(UTC)
    document = {
        "matchers": [{"name": name, "value": value, "isRegex": True, "isEqual": True}
                     for name, value in matchers.items()],
        "startsAt": now.isoformat(),
        "endsAt": (now + length).isoformat(),
        "createdBy": "invoke",
        "comment": why,
    }  # fmt: skip
    answer = fetch(docker, [Request.post(url("alertmanager", "/api/v2/silences"), document)])[0]
    created = answer.json()
    if answer.problem or not isinstance(created, dict):
        raise _error("create a silence", answer)
    return str(created["silenceID"])


def expire(docker: Docker, silence: str) -> None:
    """End a silence now; one that is over, or unknown, is left alone.

    Raises:
        ToolkitError: Alertmanager does not do it.
    """
    answer = fetch(docker, [Request(url("alertmanager", f"/api/v2/silence/{silence}"), "DELETE")])[0]
    if not answer.ok and answer.status != 404 and "already expired" not in answer.body:
        raise _error("end a silence", answer)


def _error(doing: str, answer: Response) -> ToolkitError:
    return ToolkitError(f"cannot {doing}", f"Alertmanager: {answer.problem}", "invoke logs --service=alertmanager")
