"""Upgrades a running stack to the release in the checkout, in an order that keeps requests answered, and back.

The checkout and .env define the wanted containers. An upgrade compares these with the running ones step by
step, so the next run continues an interrupted one; the record on disk has only the previous release.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from toolkit import images
from toolkit.checkout import backupkey, setting_rules
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.checkout.upgrade_record import Record, Upgrade
from toolkit.checks import doctor
from toolkit.core import console, envfile, files, terminal
from toolkit.core.errors import ToolkitError
from toolkit.engine import health, store_versions
from toolkit.engine.compose import Docker
from toolkit.engine.existing import Existing
from toolkit.engine.health import Verdict
from toolkit.engine.outdated import SERVICE
from toolkit.operate import deploy, lifecycle, previous, revision, rolling, silences
from toolkit.operate.backup.backup import backup
from toolkit.operate.deploy import release
from toolkit.operate.revision import Revision
from toolkit.operate.upgrade import finalize
from toolkit.operate.upgrade import plan as plans
from toolkit.operate.upgrade.plan import Plan

SILENCE = "invoke upgrade"
"""The comment of the silence."""
SCRIPT = "scripts/quickstart.sh"
"""Updates the Python environment, then runs the task of the checkout as it is then."""
IRREVERSIBLE = "stay with this release and correct the fault there; docs/operations.md#a-store-with-a-new-major-version"


@dataclass(frozen=True)
class Options:
    """The options of `upgrade`. ``timeout`` is in seconds, for each service to become healthy."""

    timeout: float
    dry_run: bool = False
    yes: bool = False


def upgrade(project: Project, docker: Docker, options: Options) -> None:
    """Make the running stack that of the checkout: show what changes, back up, recreate the servers, deploy, verify.

    Raises:
        ToolkitError: the checkout was changed, the data of a store must be migrated first, or a step failed: the error
            names it, and how to continue or to go back.
    """
    try:
        with files.exclusive(project.lock_file, "upgrade"):
            _upgrade(project, docker, options)
    except KeyboardInterrupt as error:
        raise ToolkitError("interrupted", _unfinished(project), _ways(project), terminal.INTERRUPTED) from error


def back(project: Project, docker: Docker, *, yes: bool = False) -> None:
    """Check out the previous release, and continue with its own toolkit. Does not return.

    Raises:
        ToolkitError: the previous release is unknown, the checkout was changed, or a store cannot open its data again.
    """
    with files.exclusive(project.lock_file, "undo the upgrade"):
        here = revision.require_committed(project.root, "go back")
        before = Record.load(project)
        last = before.upgrade
        if last is None:
            why = "no upgrade from a known release was made in this folder"
            raise ToolkitError(
                "cannot go back", why, "check out the release, then run: scripts/quickstart.sh --upgrade"
            )
        name = revision.name(project.root, last.source)
        if here.commit != last.source:
            finalize.require_way_back(before, name)
            _require_readable_data(docker, last, name)
            console.confirm(f"go back from {here.name} to {name}", yes)
            with console.phase("check out", f"{name}; branches stay where they are"):
                replace(before, upgrade=replace(last, complete=False)).save(project)
                revision.switch(project.root, last.source)
    sys.stdout.flush()
    # From here on the files are those of the other release: nothing of this one may be imported any more.
    os.execv(project.root / SCRIPT, [SCRIPT, "--upgrade", "--yes"])  # noqa: S606


def _require_readable_data(docker: Docker, last: Upgrade, name: str) -> None:
    found = store_versions.one_way_changes(_running(docker), last.images)
    if "kafka" in found and finalize.metadata_is_pending(docker):
        del found["kafka"]
    if found:
        why = f"the older program may be unable to open the data of the newer one: {', '.join(found.values())}"
        raise ToolkitError(f"cannot go back to {name}", why, "restore the backup of that release: docs/backup.md")


def _upgrade(project: Project, docker: Docker, options: Options) -> None:
    setting_rules.require(project)
    doctor.require_engine(docker)
    target = revision.require_committed(project.root, "upgrade")
    with console.phase("setup", ".env and secrets/; existing values are kept"):
        for line in setup(project, None, folder=docker.data_root()):
            console.say(f"  {line}")
    before = Record.load(project)
    if before.upgrade and target.commit == before.upgrade.source:
        finalize.require_way_back(before, target.name)
    with console.phase("plan", "changes nothing"):
        plan = _plan(project, docker, before, target)
        _show(project, docker, plan, before, target)
    if options.dry_run:
        return
    if plan.changes:
        # A run that continues, or goes back, has a backup of the state before.
        begins = not _continues(before, target)
        without = begins and not project.env.get(backupkey.TARGET)
        how = ", without a backup" if without else ""
        console.confirm(f"upgrade {len(plan.changes)} services to {target.name}{how}", options.yes)
        if begins and not without:
            backup(project, docker)
        with console.phase("images", "pulls or builds missing images; running containers are not changed"):
            _provide(project, docker, plan)
        _begin(project, docker, before, target)
        try:
            _apply(project, docker, plan, options.timeout)
        except ToolkitError as error:
            why = f"{error.what}: {error.why}" if error.why else error.what
            fix = f"{error.fix or 'correct the cause'}\n       {_ways(project)}"
            raise ToolkitError(_unfinished(project), why, fix, error.code) from error
    # Removes leftover containers, starts missing ones, verifies all of them, and records the commit.
    lifecycle.up(project, docker, lifecycle.Options(project.timeout("up"), yes=options.yes))
    if plan.changes:
        console.say(f"\n{target.name} is live; to go back: invoke upgrade --back", "ok")
    finalize.note(project, docker)


def _plan(project: Project, docker: Docker, before: Record, target: Revision) -> Plan:
    """What changes.

    Raises:
        ToolkitError: there is no stack, it belongs to another folder, or the data of a store must be migrated first.
    """
    previous.require_own(Existing.read(project, docker))
    running = _running(docker)
    if not running:
        raise ToolkitError("nothing to upgrade", "the stack has no containers", "run: invoke up")
    wanted = {name: spec["image"] for name, spec in docker.effective()["services"].items()}
    store_versions.require_same_major(running, wanted)
    differing = revision.differing(project.root, before.live, target.commit) if before.live else None
    if before.upgrade and not before.upgrade.complete:
        # A part of the services may run with the files of the other commit: the changes of both ways count.
        further = revision.differing(project.root, before.upgrade.source, before.upgrade.target)
        differing = None if differing is None or further is None else differing | further
    return plans.make(project, docker, differing)


def _show(project: Project, docker: Docker, plan: Plan, before: Record, target: Revision) -> None:
    if not plan.changes:
        console.say(f"  every service runs with the files of {target.name}", "ok")
        return
    live = revision.name(project.root, before.live) if before.live else "an unknown release"
    console.say(f"  {live} → {target.name}")
    plan.show()
    unhealthy = [
        f"{each.service} ({each.summary})"
        for each in health.container_states(docker, docker.project_name())
        if each.verdict is not Verdict.OK
    ]
    if unhealthy:
        console.say(f"  not healthy before the upgrade: {', '.join(unhealthy)}", "warning")


def _provide(project: Project, docker: Docker, plan: Plan) -> None:
    if _has_releases(project):
        # From now on a named release, which is not built again: its images are the way back.
        envfile.update(project.env_file, {release.VARIABLE: _release(project)})
    images.provide(project, docker)
    # The images of the release to go back to exist, and a host without a network cannot build them.
    if plan.deploys and _has_releases(project) and _retained(project, docker) is None:
        # The deploy finds this build in the builder's cache: a build that fails changes nothing.
        planned = release.Release.plan(project, docker, None, None)
        planned.provide(project, docker.using(**planned.settings))


def _continues(before: Record, target: Revision) -> bool:
    """Whether an interrupted upgrade continues or is reversed."""
    last = before.upgrade
    return last is not None and not last.complete and target.commit in {last.source, last.target}


def _begin(project: Project, docker: Docker, before: Record, target: Revision) -> None:
    """Record where the upgrade comes from, unless it continues an interrupted one."""
    if before.live and not _continues(before, target):
        begun = Upgrade(before.live, target.commit, _release(project), _running(docker))
        # What was finalized before belongs to the release that is the way back from now on.
        Record(before.live, begun, before.unfinalized).save(project)


def _apply(project: Project, docker: Docker, plan: Plan, timeout: float) -> None:
    deploy.recover(project, docker, timeout)
    if plan.servers:
        clients = _clients(docker, plan.servers)
        with console.phase("silence", f"in Alertmanager, for the alerts of {', '.join(clients)}"):
            silences.begin(project, docker, SILENCE, clients, silences.RESTARTING)
        try:
            with console.phase("servers", "recreated one at a time; their clients reconnect"):
                for service in plan.servers:
                    rolling.recreate(project, docker, service, timeout=timeout)
                    console.say(f"  {service}: healthy")
        finally:
            silences.end(project, docker, SILENCE)
    if plan.deploys and _has_releases(project):
        deploy.deploy(project, docker, timeout=timeout, name=_retained(project, docker))


def _clients(docker: Docker, servers: Sequence[str]) -> list[str]:
    """The services, and those that depend on them."""
    services = docker.effective()["services"]
    clients = {name for name, spec in services.items() if set(servers) & (spec.get("depends_on") or {}).keys()}
    return sorted({*servers, *clients})


def _has_releases(project: Project) -> bool:
    """Whether application and worker are replaced without downtime; in development `up` recreates them."""
    return project.profile == "prod" or bool(project.env.get(release.VARIABLE))


def _release(project: Project) -> str:
    """The live release of the application."""
    return project.env.get(release.VARIABLE) or "dev"


def _retained(project: Project, docker: Docker) -> str | None:
    """The release to go back to, if its images still exist; None for a new one."""
    last, here = Record.load(project).upgrade, revision.read(project.root)
    if last is None or here is None or here.commit != last.source:
        return None
    needed = release.images_of(project, docker.using(**{release.VARIABLE: last.release}))
    return None if images.missing(docker, needed) else last.release


def _running(docker: Docker) -> dict[str, str]:
    """The image of each service that has a container."""
    return {each["Config"]["Labels"][SERVICE]: each["Config"]["Image"] for each in docker.containers()}


def _unfinished(project: Project) -> str:
    last = Record.load(project).upgrade
    return "the upgrade is unfinished" if last and not last.complete else "nothing was changed"


def _ways(project: Project) -> str:
    last = Record.load(project).upgrade
    go_on = "to continue: invoke upgrade"
    return f"{go_on}; to go back: invoke upgrade --back" if last and not last.complete else go_on
