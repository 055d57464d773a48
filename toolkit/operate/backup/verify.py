"""Verifies the newest backup in a project of its own: restored, started, compared with the live one, and removed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from toolkit.checkout.project import Project
from toolkit.core import console, files
from toolkit.core.errors import ToolkitError
from toolkit.engine import backup_service as service
from toolkit.engine.compose import Docker
from toolkit.operate.backup import rows

SUFFIX = "-verify"
"""Of the name of the project."""
SERVICES = ("db", "app")
TARGETS = "public.targets"
START_SECONDS = 180
POLL_SECONDS = 1.0
PAGE_SIZE = 200
REQUEST = f"""
import json, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
print(len(json.load(opener.open("http://127.0.0.1:3000/api/targets?limit={PAGE_SIZE}", timeout=30))))
"""


def verify(project: Project, docker: Docker) -> None:
    """Restore the newest backup into a project of its own, start its database and application, compare, remove it.

    Raises:
        ToolkitError: it cannot be restored or started, or it differs; the project is removed nevertheless.
    """
    service.require_target(project)
    if not service.is_running(docker):
        raise ToolkitError("the service backup does not run", fix="run: invoke up --with=backup")
    own = docker.using(COMPOSE_PROJECT_NAME=f"{docker.project_name()}{SUFFIX}")
    volume = require_separate(docker, own)
    with files.exclusive(project.lock_file, "verify a backup"):
        try:
            with console.phase("restore", f"into the project {own.project_name()}; every table is compared by content"):
                _remove(own)
                docker.check(own.compose("create", "--no-recreate", "db"), "create the project")
                restored = service.run(docker, "rehearse", volume=volume)
                console.say(f"  {restored['verified']}", "ok")
            with console.phase("start", "the database, as the service db, and the application on it"):
                _compare(own, restored["rows"])
        finally:
            _remove(own)


def require_separate(docker: Docker, own: Docker) -> str:
    """The volume of the other project's database, if both projects share nothing.

    Raises:
        ToolkitError: a volume or a network has a fixed name: it would be that of the live stack.
    """
    live, other = docker.effective(), own.effective()
    found: list[str] = []
    for kind, names in (("volumes", (service.DATABASE_VOLUME,)), ("networks", _networks(other))):
        section: Mapping[str, Any] = live[kind]  # type: ignore[literal-required]
        beside: Mapping[str, Any] = other[kind]  # type: ignore[literal-required]
        found += [name for name in names if section[name]["name"] == beside[name]["name"]]
    if found or live["name"] == other["name"]:
        why = f"{', '.join(found) or 'the project'} has a fixed name, so it would be that of the live stack"
        raise ToolkitError("cannot verify in a project of its own", why, "remove the name from your compose file")
    return str(other["volumes"][service.DATABASE_VOLUME]["name"])


def _networks(config: Any) -> list[str]:
    return sorted({name for each in SERVICES for name in config["services"][each].get("networks") or {}})


def _compare(own: Docker, expected: Mapping[str, int]) -> None:
    """Start what was restored and compare it.

    Raises:
        ToolkitError: it does not start, there is nothing to compare, or it differs.
    """
    started = own.compose("up", "--detach", "--no-deps", "--wait", f"--wait-timeout={START_SECONDS}", "db")
    own.check(started, "start the restored database")
    found = rows.count(own)
    if not found or not any(expected.values()):
        raise ToolkitError("nothing was compared", "the restored database has no rows", "invoke backup.status")
    names = sorted({*expected, *found})
    if wrong := [name for name in names if expected.get(name) != found.get(name)]:
        why = ", ".join(f"{name}: {found.get(name)} rows instead of {expected.get(name)}" for name in wrong[:5])
        raise ToolkitError("the restored database differs from the live one", why, "run: invoke backup --full")
    console.say(f"  db is healthy, with the same rows in {len(found)} tables", "ok")
    if TARGETS in found:
        served, wanted = _served_targets(own), min(found[TARGETS], PAGE_SIZE)
        if served != wanted:
            why = f"it serves {served} targets instead of {wanted}"
            raise ToolkitError("the application does not serve the restored database", why, "invoke smoke")
        console.say(f"  app is healthy, and serves {served} of {found[TARGETS]} targets", "ok")


def _served_targets(own: Docker) -> int:
    """The targets that the application serves from the restored database, up to a page.

    Raises:
        ToolkitError: it does not become healthy, or does not answer.
    """
    # Neither ports nor workers: nothing is probed, and nothing is published.
    own.check(own.compose("run", "--detach", "--no-deps", "--no-TTY", "app"), "start the application")
    label = ("--filter", f"label=com.docker.compose.project={own.project_name()}")
    listed = own("ps", "--all", "--quiet", *label, "--filter", "label=com.docker.compose.service=app")
    [container] = own.check(listed, "find the application").stdout.split()
    deadline = time.monotonic() + START_SECONDS
    while (state := _state(own, container)) != "running healthy":
        if not state.startswith("running") or time.monotonic() > deadline:
            log = own("logs", "--tail=5", container)
            why = f"it is {state}; {' '.join((log.stdout + log.stderr).split())[-300:]}"
            raise ToolkitError("the application does not start on the restored database", why, "invoke smoke")
        time.sleep(POLL_SECONDS)
    answer = own("exec", container, "python", "-c", REQUEST, timeout=60)
    return int(own.check(answer, "request the targets").stdout)


def _state(own: Docker, container: str) -> str:
    shown = own("inspect", "--format={{.State.Status}} {{.State.Health.Status}}", container)
    return own.check(shown, "inspect the application").stdout.strip()


def _remove(own: Docker) -> None:
    """Remove the project.

    By their label only the volumes that Compose has created for it: one with a fixed name is that of the live stack.

    Raises:
        ToolkitError: the engine refuses.
    """
    own.check(own.compose("--profile=*", "down", "--remove-orphans", "--timeout=10"), "remove the project")
    label = f"label=com.docker.compose.project={own.project_name()}"
    listed = own.check(own("volume", "ls", "--quiet", "--filter", label), "list the volumes of the project")
    if names := listed.stdout.split():
        own.check(own("volume", "rm", *names), f"remove {', '.join(names)}")
