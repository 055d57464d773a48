"""Tasks on the credentials."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from toolkit.tasks import checkout, seconds


@task
def check(c: Context) -> None:
    """Look over every credential: file, strength, age, whether it opens its service; exit code 1 where one fails."""
    from toolkit.checks import secretcheck

    report = secretcheck.report(secretcheck.check(*checkout(c)))
    report.show()
    report.require()


@task(
    help={
        "name": "postgres_app, redis_app_password, … as invoke.yaml knows them; default: all, one after another",
        "yes": "agree to replace it, and the containers that use it",
        "timeout": "seconds for each new container to become healthy",
    },
)
def rotate(c: Context, name: str | None = None, yes: bool = False, timeout: str | None = None) -> None:
    """Replace a credential of the running stack without a failed request; completes a rotation that was cut off."""
    from toolkit.operate.rotation.rotate import rotate

    project, docker = checkout(c)
    rotate(project, docker, name or "", timeout=seconds("timeout", timeout, project.timeout("replica")), yes=yes)
