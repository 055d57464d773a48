"""Tasks that change the checkout or its stack, and those that prove it."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from toolkit.tasks import checkout, seconds

PROFILE = "dev or prod; default: the one of the last set-up, else dev"
SERVICE = "this service only; repeatable"


@task(help={"profile": PROFILE})
def setup(c: Context, profile: str | None = None) -> None:
    """Make this checkout ready: passwords in secrets/, settings in .env; what exists is kept."""
    from toolkit.checkout.setup import setup
    from toolkit.core.console import say

    project, docker = checkout(c)
    done = setup(project, profile, folder=docker.data_root())
    for line in done or ["everything is set up already"]:
        say(line)


@task(
    iterable=["with_", "without"],
    auto_shortflags=False,
    help={
        "profile": PROFILE,
        "images": "auto, pull or local; auto: as before, else pulled where a registry can be reached, else built here",
        "with_": "switch a group of services on; repeatable",
        "without": "leave a group out and remove its containers (its volumes stay); repeatable",
        "smoke": "run the smoke checks at the end",
        "timeout": "seconds for the services to become healthy",
        "yes": "agree to put other images on volumes that exist",
    },
)
def up(
    c: Context,
    profile: str | None = None,
    images: str = "auto",
    with_: list[str] | None = None,
    without: list[str] | None = None,
    smoke: bool = True,
    timeout: str | None = None,
    yes: bool = False,
) -> None:
    """Bring the stack up: set-up, images, services; wait until all are healthy, then prove it."""
    from toolkit.operate.lifecycle import Options, up

    project, docker = checkout(c)
    limit = seconds("timeout", timeout, project.timeout("up"))
    up(project, docker, Options(limit, profile, images, tuple(with_ or ()), tuple(without or ()), smoke, yes))


@task(
    help={
        "volumes": "delete the data too; asks first",
        "yes": "agree to delete the data",
    },
)
def down(c: Context, volumes: bool = False, yes: bool = False) -> None:
    """Stop and remove the containers and networks; the data stays."""
    from toolkit.operate.lifecycle import down

    down(*checkout(c), volumes=volumes, yes=yes)


@task(
    help={
        "release": "an earlier release whose images are still here; default: a new one of this checkout as it is",
        "image": "the application's image from now on, where it is made elsewhere (APP_IMAGE)",
        "timeout": "seconds for each new container to become healthy",
    }
)
def deploy(c: Context, release: str | None = None, image: str | None = None, timeout: str | None = None) -> None:
    """Put a new release of application and worker in force without a gap, or go back by itself."""
    from toolkit.operate.deploy import deploy

    project, docker = checkout(c)
    limit = seconds("timeout", timeout, project.timeout("replica"))
    deploy(project, docker, timeout=limit, name=release, image=image)


@task(
    iterable=["service"],
    help={"service": SERVICE, "timeout": "seconds"},
)
def wait(c: Context, service: list[str] | None = None, timeout: str | None = None) -> None:
    """Wait until every service is healthy; end at once on one that cannot become so."""
    from toolkit.engine.wait import wait

    project, docker = checkout(c)
    wait(docker, seconds("timeout", timeout, project.timeout("up")), service or ())


@task(help={"timeout": "seconds for all checks together"})
def smoke(c: Context, timeout: str | None = None) -> None:
    """Use every service as its clients do, from this host and from inside, and show what came of it."""
    from toolkit.checks.smoke import smoke

    project, docker = checkout(c)
    report = smoke(project, docker, seconds("timeout", timeout, project.timeout("smoke")))
    report.show()
    report.require()
