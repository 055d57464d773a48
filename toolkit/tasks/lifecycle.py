"""Tasks that change or verify the checkout and its stack."""

from __future__ import annotations

from invoke.context import Context

from toolkit.core.errors import ToolkitError
from toolkit.tasks import JSON, checkout, path, seconds, task

PROFILE = "dev or prod; default: the profile of the last setup, else dev"
SERVICE = "this service only; repeatable"


@task(help={"profile": PROFILE})
def setup(c: Context, profile: str | None = None) -> None:
    """Set up this checkout: passwords in secrets/, settings in .env; existing values are kept."""
    from toolkit.checkout.setup import setup
    from toolkit.core.console import say

    project, docker = checkout(c)
    done = setup(project, profile, folder=docker.data_root())
    for line in done or ["already set up"]:
        say(line)


@task(
    iterable=["with_", "without"],
    auto_shortflags=False,
    help={
        "profile": PROFILE,
        "images": "auto, pull or local; auto: as before, else pulled if a registry is reachable, else built here",
        "with_": "enable a group of services; repeatable",
        "without": "disable a group and remove its containers (volumes are kept); repeatable",
        "smoke": "run the smoke checks at the end",
        "timeout": "seconds for the services to become healthy",
        "yes": "confirm: switch image sets on existing volumes; remove containers of services in no compose file",
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
    """Start and verify the stack: setup, images, services, health, smoke checks."""
    from toolkit.engine.compose import CONFIGURATION, INFORMATION
    from toolkit.engine.existing import LISTED

    project, docker = checkout(c)
    docker.prefetch(INFORMATION, CONFIGURATION, LISTED)
    from toolkit.operate.lifecycle import Options, up

    limit = seconds("timeout", timeout, project.timeout("up"))
    up(project, docker, Options(limit, profile, images, tuple(with_ or ()), tuple(without or ()), smoke, yes))


@task(
    help={
        "volumes": "delete the data too; requires confirmation",
        "yes": "confirm the deletion of the data",
    },
)
def down(c: Context, volumes: bool = False, yes: bool = False) -> None:
    """Stop and remove the containers and networks; the data is kept."""
    from toolkit.operate.lifecycle import down

    down(*checkout(c), volumes=volumes, yes=yes)


@task(
    help={
        "service": "the service whose data is broken",
        "damage": "the damage, by its name in docs/troubleshooting.md; default: what the log of the service shows",
        "copy": "copy the damaged files to a new volume first",
        "timeout": "seconds for the service to become healthy",
        "yes": "confirm the repair and its data loss",
    },
)
def repair(
    c: Context,
    service: str = "",
    damage: str | None = None,
    copy: bool = True,
    timeout: str | None = None,
    yes: bool = False,
) -> None:
    """Repair the broken data of a service: show the commands and the data loss, ask, copy, repair, start."""
    from toolkit.operate.repair import Options, repair

    project, docker = checkout(c)
    limit = seconds("timeout", timeout, project.timeout("up"))
    repair(project, docker, service, Options(limit, damage, copy, yes))


@task(
    help={
        "release": "an earlier release whose images are retained; default: a new release of this checkout",
        "image": "the application's new image, if it is built elsewhere (APP_IMAGE)",
        "timeout": "seconds for each new container to become healthy",
    }
)
def deploy(c: Context, release: str | None = None, image: str | None = None, timeout: str | None = None) -> None:
    """Deploy a new release of application and worker without downtime; roll back automatically on failure."""
    from toolkit.operate.deploy import deploy

    project, docker = checkout(c)
    limit = seconds("timeout", timeout, project.timeout("replica"))
    deploy(project, docker, timeout=limit, name=release, image=image)


@task(
    help={
        "dry-run": "show what would change, and change no container",
        "back": "return to the previous release",
        "bundle": "the bundle of this release, on a host without a network",
        "finalize": "raise the formats of the brokers to those of this release, which cannot be reversed",
        "timeout": "seconds for each new container to become healthy",
        "yes": "confirm the upgrade",
    }
)
def upgrade(
    c: Context,
    dry_run: bool = False,
    back: bool = False,
    bundle: str = "",
    finalize: bool = False,
    timeout: str | None = None,
    yes: bool = False,
) -> None:
    """Upgrade the running stack to the release that is checked out; show what changes first."""
    from toolkit.operate.bundle.load import load
    from toolkit.operate.upgrade import finalize as last_step
    from toolkit.operate.upgrade.upgrade import Options, upgrade
    from toolkit.operate.upgrade.upgrade import back as go_back

    if finalize and (back or dry_run or bundle):
        raise ToolkitError("--finalize is combined with another step", "each is a run of its own", code=2)
    project, docker = checkout(c)
    if finalize:
        last_step.finalize(project, docker, yes=yes)
        return
    if back:
        go_back(project, docker, yes=yes)
    if bundle:
        load(project, docker, path("bundle", bundle), upgrade=True)
    upgrade(project, docker, Options(seconds("timeout", timeout, project.timeout("replica")), dry_run, yes))


@task(
    help={
        "output": "the file to write",
        "profile": "the profile whose images are included, with the groups that are on; default: the one in use",
    }
)
def bundle(c: Context, output: str = "", profile: str | None = None) -> None:
    """Write one file from which a host without a network can start this release."""
    from toolkit.operate.bundle.write import bundle

    bundle(*checkout(c), path("output", output), profile)


@task(
    iterable=["service"],
    help={"service": SERVICE, "timeout": "seconds for all services together"},
)
def wait(c: Context, service: list[str] | None = None, timeout: str | None = None) -> None:
    """Wait until every service is healthy; fail fast if a service can no longer become healthy."""
    from toolkit.engine.wait import wait

    project, docker = checkout(c)
    wait(docker, seconds("timeout", timeout, project.timeout("up")), service or ())


@task(help={"timeout": "seconds for all checks together", "json": JSON})
def smoke(c: Context, timeout: str | None = None, json: bool = False) -> None:
    """Use every service as its clients do, from this host and from inside, and show the results."""
    from toolkit.checks.smoke import smoke
    from toolkit.core.presentation import present
    from toolkit.core.report import NO_FINDINGS

    project, docker = checkout(c)
    limit = seconds("timeout", timeout, project.timeout("smoke"))
    present("smoke", lambda: smoke(project, docker, limit), NO_FINDINGS, as_json=json)
