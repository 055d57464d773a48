"""Check of the services that have failed, and of broken data in the logs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from toolkit.checks.doctor.subject import Subject
from toolkit.core.report import Finding, Outcome
from toolkit.engine import damage, diagnosis, health
from toolkit.engine.health import ServiceState, Verdict
from toolkit.engine.wait import DIAGNOSED_LINES, last_lines

RECENT = timedelta(hours=1)
"""The age of log lines of a healthy service that count: a repair does not remove older ones."""


def failures(subject: Subject) -> Iterator[Finding]:
    """No service has failed, and no log of a healthy one shows broken data."""
    states = health.container_states(subject.docker, subject.configuration["name"])
    problems = [found for state in states for found in _of_state(subject, state)]
    what = f"none of {len(states)} containers" if states else "no container"
    yield from problems or [Finding("failures", Outcome.OK, what)]


def _of_state(subject: Subject, state: ServiceState) -> Iterator[Finding]:
    service = state.service
    if state.verdict is Verdict.FAILED:
        cause = diagnosis.cause(state, "\n".join(last_lines(subject.docker, state, DIAGNOSED_LINES)))
        fix = cause.fix if cause else f"invoke logs --service={service} shows its log"
        what = f"{service}: {state.summary}" + (f": {cause.why}" if cause else "")
        yield Finding("failures", Outcome.FAILED, what, fix, service)
    elif state.verdict is Verdict.OK and any(each.serves for each in damage.of_service(service)):
        now = datetime.now(UTC)
        since = max(state.started or now, now - RECENT)
        log = "\n".join(last_lines(subject.docker, state, DIAGNOSED_LINES, since.isoformat()))
        if found := damage.find(service, log, serving=True):
            yield Finding("failures", Outcome.WARNING, f"{service}: {found.cause}", found.fix, service)
