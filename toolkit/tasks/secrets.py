"""Tasks for the credentials."""

from __future__ import annotations

from invoke.context import Context

from toolkit.tasks import checkout, seconds, task


@task()
def check(c: Context) -> None:
    """Check every credential: file, strength, age, login; exit code 1 if one fails."""
    from toolkit.checks import secretcheck

    report = secretcheck.report(secretcheck.check(*checkout(c)))
    report.show()
    report.require()


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
