"""Read-only tasks."""

from __future__ import annotations

from invoke.context import Context

from toolkit.tasks import JSON, checkout, task, whole_number


@task(help={"json": JSON})
def status(c: Context, json: bool = False) -> None:
    """Show every service: state, health, uptime, ports, memory; exit code 1 if one is unhealthy."""
    from toolkit.engine.compose import CONFIGURATION
    from toolkit.engine.existing import LISTED

    project, docker = checkout(c)
    docker.prefetch(CONFIGURATION, LISTED)
    from toolkit.checks.status import NOTHING, read
    from toolkit.core.presentation import present

    present("status", lambda: read(project, docker), NOTHING, as_json=json)


@task(
    iterable=["service"],
    help={
        "service": "this service only; repeatable",
        "follow": "follow the logs until Ctrl-C",
        "tail": "number of lines of each service",
        "since": "start time: 10m, 2h, 2026-01-31T12:00:00",
    },
)
def logs(
    c: Context,
    service: list[str] | None = None,
    follow: bool = False,
    tail: str | None = None,
    since: str | None = None,
) -> None:
    """Show the logs of the services."""
    from toolkit.engine.logs import logs

    _, docker = checkout(c)
    logs(docker, service or (), follow=follow, tail=None if tail is None else whole_number("tail", tail), since=since)


@task(help={"count": "number of messages, the oldest first (default: 20)"})
def dead_letters(c: Context, count: str = "20") -> None:
    """Show why jobs were dead-lettered; the messages stay in their queue."""
    from toolkit.checks.deadletters import dead_letters

    dead_letters(*checkout(c), whole_number("count", count))


@task()
def config(c: Context) -> None:
    """Show the effective configuration of the profile as YAML, with secrets masked."""
    from toolkit.checks.masking import masked_config

    print(masked_config(*checkout(c)), end="")


@task(help={"json": JSON})
def doctor(c: Context, json: bool = False) -> None:
    """Diagnose the host, the settings, the secrets and the ports, and suggest fixes."""
    from toolkit.engine.compose import CONFIGURATION, HASHES, INFORMATION
    from toolkit.engine.existing import LISTED

    project, docker = checkout(c)
    docker.prefetch(CONFIGURATION, HASHES, INFORMATION, LISTED)
    from toolkit.checks.doctor import doctor
    from toolkit.core.presentation import present
    from toolkit.core.report import NO_FINDINGS

    present("doctor", lambda: doctor(project, docker), NO_FINDINGS, as_json=json)


@task(help={"profile": "prod; the checkout need not be set up for it", "json": JSON})
def preflight(c: Context, profile: str = "prod", json: bool = False) -> None:
    """Check whether the stack is ready for production, and suggest fixes; exit code 1 on blockers."""
    from toolkit.checks.preflight import preflight
    from toolkit.core.presentation import present
    from toolkit.core.report import NO_FINDINGS

    present("preflight", lambda: preflight(*checkout(c), profile), NO_FINDINGS, as_json=json)
