"""Tasks for the credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.context import Context

from toolkit.tasks import JSON, checkout, seconds, task

if TYPE_CHECKING:
    from toolkit.core.report import Report


@task(help={"json": JSON})
def check(c: Context, json: bool = False) -> None:
    """Check every credential: file, strength, age, login; exit code 1 if one fails."""
    from toolkit.checks import secretcheck
    from toolkit.core.presentation import present
    from toolkit.core.report import NO_FINDINGS

    def report() -> Report:
        return secretcheck.report(secretcheck.check(*checkout(c)))

    present("secrets.check", report, NO_FINDINGS, as_json=json)


@task(
    help={
        "name": "an account of invoke.yaml: postgres_app, redis_app_password, …; default: all, one after another",
        "yes": "confirm the rotation and the replacement of the containers that use it",
        "timeout": "seconds for each new container to become healthy",
    },
)
def rotate(c: Context, name: str | None = None, yes: bool = False, timeout: str | None = None) -> None:
    """Rotate a credential of the running stack without failed requests; completes an interrupted rotation."""
    from toolkit.operate.rotation.rotate import rotate

    project, docker = checkout(c)
    rotate(project, docker, name or "", timeout=seconds("timeout", timeout, project.timeout("replica")), yes=yes)
