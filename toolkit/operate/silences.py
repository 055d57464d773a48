"""Silences in Alertmanager for the alerts that planned operations trigger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

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
"""Alerts that replacing a container can trigger. Errors and latencies seen by clients are never silenced."""

RESTARTING = (*REPLACING, ".+Down")
"""Alerts that also follow while a service without replicas restarts, at the service itself and at its clients."""

LONGEST = timedelta(minutes=30)
"""Duration of a silence, unless ended earlier."""

CLEARING = timedelta(seconds=15)
"""How long a silence lasts after the operation: a few scrapes and evaluations, in which its alerts resolve."""

EXPIRED = "expired"


def begin(
    project: Project, docker: Docker, why: str, services: Iterable[str], alerts: Sequence[str] = REPLACING
) -> None:
    """Silence the alerts that replacing containers triggers; without Alertmanager, print the reason and continue.

    Services with such an alert that is active already are not silenced: Alertmanager would not notify of its end.

    Args:
        project: The checkout.
        docker: Docker in its folder.
        why: The comment of the silence, by which `end` finds it.
        services: The services whose containers are replaced.
        alerts: Regular expressions of alert names.
    """
    if reason := Stack.read(project, docker).unavailable_reason("alertmanager"):
        say(f"  skipped: {reason}", "skipped")
        return
    try:
        active = _active(docker, "|".join(alerts))
        affected = list(services)
        if silenced := [service for service in affected if service not in active]:
            create(docker, {"alertname": "|".join(alerts), "service": "|".join(silenced)}, LONGEST, why)
        if alerting := [service for service in affected if service in active]:
            say(f"  {', '.join(alerting)}: not silenced, since an alert is active already", "skipped")
    except ToolkitError as error:
        say(f"  {error.what}: {error.why}; alerts are not silenced", "warning")


def end(project: Project, docker: Docker, why: str) -> None:
    """End the silences of this reason, also those of earlier runs; on failure, print a warning."""
    try:
        if not Stack.read(project, docker).unavailable_reason("alertmanager"):
            expire(docker, why)
    except ToolkitError as error:
        say(f"  the silence expires by itself: {error.what}: {error.why}", "warning")


def _active(docker: Docker, alerts: str) -> set[str]:
    """The services with an active alert whose name matches."""
    alerts_url = url(
        "alertmanager", "/api/v2/alerts", silenced="false", inhibited="false", filter=f'alertname=~"{alerts}"'
    )
    [listed] = _request(docker, "list the alerts", [Request(alerts_url)])
    return {each["labels"].get("service", "") for each in listed.json() or []}


def create(docker: Docker, matchers: Mapping[str, str], length: timedelta, why: str) -> None:
    """Silence the alerts whose labels match, for ``length`` at most.

    Args:
        docker: Docker in the project's folder.
        matchers: An anchored regular expression for each label.
        length: The duration, unless ended earlier.
        why: The comment of the silence, by which `expire` finds it.

    Raises:
        ToolkitError: Alertmanager rejects the silence.
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
    _request(docker, "create a silence", [_silence(document)])


def expire(docker: Docker, why: str) -> None:
    """End every silence of this reason after `CLEARING`, including those of killed runs.

    Raises:
        ToolkitError: Alertmanager rejects the request.
    """
    [listed] = _request(docker, "list the silences", [Request(url("alertmanager", "/api/v2/silences"))])
    matching = [each for each in listed.json() or [] if each["comment"] == why and each["status"]["state"] != EXPIRED]
    ends_at = (datetime.now(UTC) + CLEARING).isoformat()
    _request(docker, "end a silence", [_silence(each | {"endsAt": ends_at}) for each in matching])


def _silence(document: Mapping[str, Any]) -> Request:
    """Create a silence, or change the one with the same id."""
    return Request.post(url("alertmanager", "/api/v2/silences"), dict(document))


def _request(docker: Docker, doing: str, requests: Sequence[Request]) -> list[Response]:
    answers = fetch(docker, requests)
    for answer in answers:
        if answer.problem:
            why, fix = f"Alertmanager: {answer.problem}", "run: invoke logs --service=alertmanager"
            raise ToolkitError(f"cannot {doing}", why, fix)
    return answers
