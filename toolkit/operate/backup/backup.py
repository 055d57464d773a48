"""Takes backups and shows them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

from toolkit.checkout import backupkey
from toolkit.checkout.project import Project
from toolkit.core import console, files
from toolkit.core.errors import ToolkitError
from toolkit.engine import backup_service as service
from toolkit.engine.compose import Docker
from toolkit.operate.backup import archive

ACCOUNTS = "/opt/netmon/postgres-accounts.sh"


def backup(project: Project, docker: Docker, *, full: bool = False) -> None:
    """Take a backup of the database and of the platform's files now.

    Raises:
        ToolkitError: there is no target, or the backup failed; nothing that looks like a backup is left.
    """
    target = service.require_target(project)
    with files.exclusive(project.lock_file, "take a backup"):
        with console.phase("files", "settings, credentials, definitions, certificates, silences"):
            made = archive.make(project, docker)
            put = ("platform-put", f"--commit={archive.commit(project)}")
            service.call(docker, *put, stdin=base64.b64encode(made.content).decode())
            console.say(f"  {len(made.members)} files, {len(made.content) / 1e6:.1f} MB")
            for reason in made.missing:
                console.say(f"  not included: {reason}", "warning")
        with console.phase("database", f"copied, verified, stored in {target}"):
            done = service.call(docker, "backup", *(["--full"] if full else []))
    console.say(f"backup {done['id']}: {done['kind']}, {int(done['bytes']) / 1e6:.0f} MB", "ok")
    require_copied_key(project)


def status(project: Project, docker: Docker) -> None:
    """Show the backups, the restorable period and the last failures.

    Raises:
        ToolkitError: the repository cannot be read, or an activity has failed since its last success.
    """
    service.require_target(project)
    found: dict[str, Any] = service.call(docker, "status", quiet=True)
    rows = [
        (each["id"], each["kind"], each["ended"][:19].replace("T", " "), f"{int(each['bytes']) / 1e6:.0f} MB")
        for each in found["backups"]
    ]
    console.table(("backup", "kind", "ended (UTC)", "size"), rows)
    console.say("")
    if rows:
        console.say(f"restorable: {rows[0][2]} to {str(found['until'] or rows[-1][2])[:19]} UTC")
    console.say(f"last verified restore: {_moment(found['verified'])}")
    console.say(f"last copy of the platform's files: {_moment(found['platform'])}")
    console.say(f"key: fingerprint {backupkey.fingerprint(project)}")
    if found["failed"]:
        reasons = "\n    ".join(f"{name}: {reason}" for name, reason in sorted(found["failed"].items()))
        raise ToolkitError("an activity has failed since its last success", reasons, "docs/backup.md")


def require_copied_key(project: Project) -> None:
    """Remind of the copy of the key, until it is acknowledged."""
    present = backupkey.fingerprint(project)
    if present and project.env.get(backupkey.COPY) != present:
        console.say(
            "store a copy of secrets/backup/key outside this host: without it no backup can be read; "
            f"then set {backupkey.COPY}={present} in .env",
            "warning",
        )


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC" if seconds else "never"
