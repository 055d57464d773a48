"""Silences in Alertmanager: alerts that something deliberate causes are not sent while it is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from toolkit.checkout.project import Project
from toolkit.core.console import say
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Docker
from toolkit.engine.stack_http import Request, Response, fetch
from toolkit.observe.stack import Stack, url

REPLACING = (
    "TargetDown", "TargetAbsent", "EndpointDown", "DependencyDown", "ContainerStopped", "ContainerRestarting",
    "ContainerMetricsMissing",
)  # fmt: skip
"""What a container that comes or goes can raise. Errors and latencies that clients see are told as ever."""

LONGEST = timedelta(minutes=30)
"""After which a silence ends by itself, should nobody come to end it."""

EXPIRED = "expired"


def begin(
    project: Project, docker: Docker, why: str, services: Iterable[str], alerts: Iterable[str] = REPLACING
) -> None:
    """Silence what replacing containers raises; where Alertmanager is not there or refuses, that is said and no more.

    Args:
        project: The checkout.
        docker: Docker in its folder.
        why: What Alertmanager shows beside it, and what `end` finds it by.
        services: Those whose containers are replaced.
        alerts: Regular expressions of their names.
    """
    if reason := Stack.read(project, docker).why_not("alertmanager"):
        say(f"  skipped: {reason}", "skipped")
        return
    try:
        create(docker, {"alertname": "|".join(alerts), "service": "|".join(services)}, LONGEST, why)
    except ToolkitError as error:
        say(f"  {error.what}: {error.why}; alerts are sent", "warning")


def end(project: Project, docker: Docker, why: str) -> None:
    """End what was silenced for this reason, by whichever run; where that cannot be done it is said."""
    try:
        if not Stack.read(project, docker).why_not("alertmanager"):
            expire(docker, why)
    except ToolkitError as error:
        say(f"  the silence ends by itself: {error.what}: {error.why}", "warning")


def create(docker: Docker, matchers: Mapping[str, str], length: timedelta, why: str) -> None:
    """Silence the alerts whose labels match, from now on and for ``length`` at most.

    Args:
        docker: Docker in the project's folder.
        matchers: For each label a regular expression, anchored.
        length: After which the silence ends by itself.
        why: What Alertmanager shows beside it, and what `expire` finds it by.

    Raises:
        ToolkitError: Alertmanager does not take it.
    """
    now = datetime.now(UTC)
    document = {
        "matchers": [
            {"name": name, "value": value, "isRegex": True, "isEqual": True} for name, value in matchers.items()
        ],
        "startsAt": now.isoformat(),
        "endsAt": (now + length).isoformat(),
        "createdBy": "invoke",
        "comment": why,
    }
    _asked(docker, "create a silence", [Request.post(url("alertmanager", "/api/v2/silences"), document)])


def expire(docker: Docker, why: str) -> None:
    """End every silence that was created for this reason, whoever was killed before it could note that it had done so.

    Raises:
        ToolkitError: Alertmanager does not do it.
    """
    [listed] = _asked(docker, "list the silences", [Request(url("alertmanager", "/api/v2/silences"))])
    ours = [each["id"] for each in listed.json() or [] if each["comment"] == why and each["status"]["state"] != EXPIRED]
    ends = [Request(url("alertmanager", f"/api/v2/silence/{identifier}"), "DELETE") for identifier in ours]
    _asked(docker, "end a silence", ends)


def _asked(docker: Docker, doing: str, requests: Sequence[Request]) -> list[Response]:
    answers = fetch(docker, requests)
    for answer in answers:
        if answer.problem:
            why, fix = f"Alertmanager: {answer.problem}", "invoke logs --service=alertmanager"
            raise ToolkitError(f"cannot {doing}", why, fix)
    return answers
