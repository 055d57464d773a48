"""Tasks that only look."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from toolkit.tasks import checkout, whole_number


@task
def status(c: Context) -> None:
    """Show every service: state, health, since when, ports, memory; exit code 1 where one is not healthy."""
    from toolkit.checks.status import status

    status(*checkout(c))


@task(
    iterable=["service"],
    help={
        "service": "this service only; repeatable",
        "follow": "go on with what is logged from now on, until Ctrl-C",
        "tail": "this many lines of each service",
        "since": "from this time on: 10m, 2h, 2026-01-31T12:00:00",
    },
)
def logs(
    c: Context,
    service: list[str] | None = None,
    follow: bool = False,
    tail: str | None = None,
    since: str | None = None,
) -> None:
    """Show what the services have logged."""
    from toolkit.engine.logs import logs

    _, docker = checkout(c)
    logs(docker, service or (), follow=follow, tail=None if tail is None else whole_number("tail", tail), since=since)


@task
def config(c: Context) -> None:
    """Show the effective configuration of the profile as YAML, its secrets masked."""
    from toolkit.checks.masking import masked_config

    print(masked_config(*checkout(c)), end="")


@task
def doctor(c: Context) -> None:
    """Look over machine, settings, secrets and ports; each finding comes with its fix."""
    from toolkit.checks.doctor import doctor

    report = doctor(*checkout(c))
    report.show()
    report.require()


@task(help={"profile": "prod; what is looked at need not be set up yet"})
def preflight(c: Context, profile: str = "prod") -> None:
    """List what is not ready for production, each with its fix; exit code 1 where anything is a blocker."""
    from toolkit.checks.preflight import preflight

    report = preflight(*checkout(c), profile)
    report.show()
    report.require()
