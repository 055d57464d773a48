"""Restores the database: beside the present one, which is then set aside."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from toolkit import images
from toolkit.checkout import credentials
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.checks.smoke import smoke
from toolkit.core import console, files
from toolkit.core.errors import ToolkitError
from toolkit.engine import backup_service as service
from toolkit.engine.compose import Docker
from toolkit.engine.health import container_states
from toolkit.engine.wait import wait
from toolkit.operate import lifecycle
from toolkit.operate.backup import archive, rows, volumes
from toolkit.operate.backup.backup import ACCOUNTS

WRITERS = ("app", "worker", "backup")
"""Services that use the database; they are stopped for the exchange, then the database is."""


@dataclass(frozen=True)
class Options:
    """The options of `restore`.

    ``at`` is a time in ISO 8601 (without an offset: UTC), empty for the newest state; ``backup`` the id of the backup
    to start from; with ``take_over`` this host becomes the owner of the repository; with ``files`` the platform's files
    are extracted, and those of volumes put back. ``timeout`` is in seconds, for the services to become healthy.
    """

    timeout: float
    at: str = ""
    backup: str = ""
    dry_run: bool = False
    take_over: bool = False
    files: bool = False
    yes: bool = False

    @property
    def selection(self) -> list[str]:
        """The arguments of the service."""
        selected = {"--at": parse_time(self.at), "--backup": self.backup}
        return [f"{name}={value}" for name, value in selected.items() if value]


def parse_time(text: str) -> str:
    """A time in ISO 8601 with an offset; empty for none.

    Raises:
        ToolkitError: it is not a time (exit code 2).
    """
    if not text:
        return ""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        example = "2026-11-30T14:05:00+00:00"
        raise ToolkitError(f"invalid --at={text}", "it is not a time", f"--at={example}", code=2) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).isoformat()


def restore(project: Project, docker: Docker, options: Options) -> None:
    """Restore a state of the database in place, or on an empty host.

    Raises:
        ToolkitError: a step failed. Before the exchange the current database is unchanged; afterwards it is set aside.
    """
    selection = options.selection
    service.require_target(project)
    with files.exclusive(project.lock_file, "restore"):
        _prepare_host(project, docker)
        with console.phase("plan", "changes nothing"):
            plan = service.run(docker, "plan", *selection, quiet=True)
            _show(plan)
        if options.dry_run:
            return
        console.confirm(f"restore backup {plan['backup']} and set the current database aside", options.yes)
        extracted = _fetch_files(project, docker, plan) if options.files else None
        with console.phase("restore", "beside the current database, which keeps running"):
            docker.check(
                docker.compose("--profile", "backup", "create", "--no-recreate", "db"),
                "create the volume of the database",
            )
            take_over = ["--take-over"] if options.take_over else []
            prepared = service.run(docker, "prepare", *selection, *take_over)
        before = rows.count(docker)
        with console.phase("exchange", "stops the application and the database"):
            docker.check(docker.compose("stop", *_running(docker, *WRITERS)), "stop the application")
            stopped = datetime.now(UTC)
            docker.check(docker.compose("stop", *_running(docker, "db")), "stop the database")
            done = service.run(docker, "exchange", prepared["id"], quiet=True)
        if extracted:
            with console.phase("files", "certificates, silences and Grafana's database, into their volumes"):
                volumes.put_back(docker, extracted)
        with console.phase("start", "passwords of this host, derived data, every service"):
            _start(project, docker, options.timeout)
            _requeue(docker)
        report(before, done, stopped)
        with console.phase("smoke", "uses every service as its clients do; creates one probe"):
            checks = smoke(project, docker, project.timeout("smoke"))
            checks.show()
        checks.require()


def _prepare_host(project: Project, docker: Docker) -> None:
    """Switch the group on, and provide the images."""
    groups = lifecycle.choose_groups(project, ["backup"], ())
    setup(project, None, groups=groups, folder=docker.data_root())
    images.choose(project, docker, "auto", False)
    images.provide(project, docker)


def _show(plan: Mapping[str, Any]) -> None:
    console.say(f"  backup {plan['backup']}, from {len(plan['chain'])} parts; {plan['wal_bytes'] / 1e6:.0f} MB of WAL")
    console.say(f"  {plan['bytes'] / 1e6:.0f} MB on the disk of the database while it runs")
    console.say(f"  the repository has every write until {plan['until'][:19]} UTC")
    if plan["at"]:
        lost = (datetime.fromisoformat(plan["until"]) - datetime.fromisoformat(plan["at"])).total_seconds()
        console.say(f"  restores {plan['at'][:19]} UTC: the writes of {max(lost, 0):.0f} s since then are undone")


def _fetch_files(project: Project, docker: Docker, plan: Mapping[str, Any]) -> Path:
    """Extract the platform's files; returns their folder."""
    at = [f"--at={plan['at']}"] if plan["at"] else []
    content = base64.b64decode(service.run(docker, "platform-get", *at, quiet=True))
    target = project.lock_file.parent / f"restored-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = archive.extract(content, target)
    console.say(f"  {len(names)} files of the platform are in {target}")
    return target


def _running(docker: Docker, *services: str) -> list[str]:
    """The services, as `docker compose stop` without any would stop all."""
    present = {state.service for state in container_states(docker)}
    return [name for name in services if name in present] or ["db"]


def _start(project: Project, docker: Docker, timeout: float) -> None:
    """Start the database, set the passwords of this host, drop derived data, start everything."""
    # Without waiting: the health check logs in, with a password that the restored database may not have.
    docker.check(docker.compose("up", "--detach", "--no-deps", "db", "redis"), "start the database")
    accepts = "until pg_isready --quiet; do sleep 0.5; done"
    docker.check(docker.exec("db", "timeout", "120", "sh", "-c", accepts), "wait for the database")
    accounts = docker.exec("db", ACCOUNTS)
    docker.check(accounts, "set the passwords of the database")
    wait(docker, timeout, ["redis"])
    admin = project.secrets["redis_password"]
    login = f"AUTH {admin.user} {credentials.load(project, admin)}\nFLUSHALL\n"
    flushed = docker.exec("redis", "redis-cli", stdin=login, timeout=60)
    if flushed.stdout.split()[-1:] != ["OK"]:
        reason = " ".join(flushed.stdout.split()) or flushed.stderr
        raise ToolkitError("cannot drop the cached states", f"redis: {reason}", "run: invoke secrets.check")
    lifecycle.start(docker, timeout)


def _requeue(docker: Docker) -> None:
    """Queue the accepted probes again that the restored database has and the queue has not; on failure, print it."""
    if not any(state.service == "worker" for state in container_states(docker)):
        return  # another application
    done = docker.exec("worker", "python", "-m", "netmon", "requeue", timeout=600)
    if done.code:
        reason = " ".join(done.stderr.split())[-300:]
        console.say(f"  accepted probes are not queued again, and end as failed: {reason}", "warning")
    else:
        console.say(f"  {done.stdout.split()[-1]} accepted probes are queued again")


def report(before: Mapping[str, int], done: Mapping[str, Any], stopped: datetime) -> None:
    """Show the rows before and after, and the data loss."""
    after: Mapping[str, int] = done["rows"]
    names = sorted({*before, *after})
    shown = [(name, str(before.get(name, "-")), str(after.get(name, "-"))) for name in names]
    console.table(("table", "rows before", "rows restored"), shown)
    last = done["last_commit"]
    if last:
        seconds = (stopped - datetime.fromisoformat(last)).total_seconds()
        console.say(f"the last restored commit is of {last[:23]} UTC, {seconds:.1f} s before the stop")
    for failure in done["failures"]:
        console.say(f"an older backup was used: {failure}", "warning")
    if aside := done.get("set_aside"):
        console.say(f"the former database is set aside as {aside} in its volume (docs/backup.md)")
