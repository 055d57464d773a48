"""Whether the data of this host could be restored if the host were lost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from toolkit.checkout import backupkey
from toolkit.checks.doctor.subject import Subject
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding, Outcome
from toolkit.engine import backup_service

CHECK = "backup"
MAX_AGE_SECONDS = 26 * 3600
"""The age at which the alert BackupTooOld fires."""
VERIFY = "verify"
LOG = "invoke logs --service=backup shows the reason"


def backups(subject: Subject) -> Iterator[Finding]:
    """If there is a target: the service has completed a recent backup, and nothing has failed since.

    As the service remembers it: the repository, which may be far away, is not read.
    """
    if not subject.project.env.get(backupkey.TARGET, "").strip():
        return
    if backup_service.SERVICE not in subject.configuration["services"]:
        yield _failed("BACKUP_TARGET is set, but nothing makes backups", "run: invoke up --with=backup")
        return
    if not backup_service.is_running(subject.docker):
        return  # what does not run is reported as such
    try:
        known: Mapping[str, Any] = backup_service.call(subject.docker, "status", "--offline", quiet=True)
    except ToolkitError as error:
        yield Finding.of_error(CHECK, error)
        return
    problems = list(_work(known, time.time()))
    newest = max(known["backup"].values(), default=0.0)
    yield from problems or [Finding(CHECK, Outcome.OK, f"the newest is {(time.time() - newest) / 3600:.0f} h old")]


def restorable(subject: Subject) -> Iterator[Finding]:
    """A recent backup is in a repository of this host that opens, and a copy of its key is elsewhere."""
    project, docker = subject.project, subject.docker
    target = project.env.get(backupkey.TARGET, "").strip()
    if not target:
        fix = "set BACKUP_TARGET in .env to the location of this host's backups, then: invoke up --with=backup"
        yield _failed("no backup is set up: data lost on this host cannot be restored", fix)
        return
    if backup_service.SERVICE not in subject.configuration["services"]:
        yield _failed(f"BACKUP_TARGET is {target}, but nothing makes backups", "run: invoke up --with=backup")
        return
    problems = [*_key(subject), *_place(subject, target)]
    try:
        status: Mapping[str, Any] = backup_service.call(docker, "status", quiet=True)
    except ToolkitError as error:
        problems.append(Finding.of_error(CHECK, error))
    else:
        if not status["own"]:
            what = "the repository is in use by another host"
            problems.append(_failed(what, "use another BACKUP_TARGET for this host"))
        if not status["backups"] and status["backup"]:
            problems.append(_failed("the repository has no backup", f"run: invoke backup; {LOG}"))
        problems += _work(status, time.time())
    yield from problems or [Finding(CHECK, Outcome.OK, f"{len(status['backups'])} backups in {target}")]


def _key(subject: Subject) -> Iterator[Finding]:
    present, acknowledged = backupkey.fingerprint(subject.project), subject.project.env.get(backupkey.COPY, "")
    if not present:
        yield _failed(
            "secrets/backup/key is missing", "restore your copy of it; for a new repository run: invoke setup"
        )
    elif acknowledged != present:
        what = "no copy of secrets/backup/key is known to be outside this host: without it no backup can be read"
        yield _failed(what, f"store a copy elsewhere, then set {backupkey.COPY}={present} in .env")


def _place(subject: Subject, target: str) -> Iterator[Finding]:
    """A folder on the disk of the data is lost with it."""
    data = Path(subject.docker.info()["DockerRootDir"])
    if not target.startswith("/"):
        return
    try:
        same = Path(target).stat().st_dev == data.stat().st_dev
    except OSError:
        return
    if same:
        what = f"{target} is on the same disk as the data: one failure loses both"
        yield Finding(CHECK, Outcome.WARNING, what, "use a disk of another host, SFTP or S3 (docs/backup.md)")


def _work(known: Mapping[str, Any], now: float) -> Iterator[Finding]:
    """The problems in the recorded state of the service."""
    newest = max(known["backup"].values(), default=0.0)
    if not newest:
        yield _failed("no backup has been completed", f"run: invoke backup; {LOG}")
    elif now - newest > MAX_AGE_SECONDS:
        yield _failed(f"the newest backup is {(now - newest) / 3600:.0f} hours old", f"run: invoke backup; {LOG}")
    for activity, reason in sorted(known["failed"].items()):
        outcome = Outcome.WARNING if activity == VERIFY else Outcome.FAILED
        yield Finding(CHECK, outcome, f"{activity} failed: {reason}", LOG)
    platform = known.get("platform", 0.0)
    if now - platform > MAX_AGE_SECONDS:
        age = f"{(now - platform) / 3600:.0f} hours old" if platform else "missing"
        what = f"the copy of the platform's files (secrets, settings, certificates) is {age}"
        yield Finding(CHECK, Outcome.WARNING, what, "run: invoke backup; daily by a timer: docs/backup.md#daily")
    if not known["verified"]:
        yield Finding(CHECK, Outcome.WARNING, "no restore has been verified yet", "run: invoke backup.verify")


def _failed(what: str, fix: str) -> Finding:
    return Finding(CHECK, Outcome.FAILED, what, fix)
