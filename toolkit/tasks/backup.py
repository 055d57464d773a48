"""Tasks for backups and restores."""

from __future__ import annotations

from invoke.context import Context

from toolkit.tasks import checkout, seconds, task


@task(help={"full": "a full backup, even if an incremental one is possible"})
def backup(c: Context, full: bool = False) -> None:
    """Take a backup of the database and of the platform's files now."""
    from toolkit.operate.backup.backup import backup

    backup(*checkout(c), full=full)


@task()
def status(c: Context) -> None:
    """Show the backups, the restorable period and failures; exit code 1 if something has failed."""
    from toolkit.operate.backup.backup import status

    status(*checkout(c))


@task()
def verify(c: Context) -> None:
    """Restore the newest backup into a project of its own, compare it with the live database, and remove it."""
    from toolkit.operate.backup.verify import verify

    verify(*checkout(c))


@task(
    help={
        "at": "the time to restore, in ISO 8601; without an offset it is UTC; default: the newest state",
        "backup": "the id of the backup to start from; default: the newest before that time",
        "dry-run": "show what would be restored",
        "take-over": "become the owner of the repository: the host that used it before stops its backups",
        "files": "put certificates, silences and Grafana's database back too; extract the other files into .netmon/",
        "timeout": "seconds for the services to become healthy",
        "yes": "confirm the restore",
    }
)
def restore(
    c: Context,
    at: str = "",
    backup: str = "",
    dry_run: bool = False,
    take_over: bool = False,
    files: bool = False,
    timeout: str | None = None,
    yes: bool = False,
) -> None:
    """Restore the database, in place or on a new host; the current database is kept."""
    from toolkit.operate.backup.restore import Options, restore

    project, docker = checkout(c)
    limit = seconds("timeout", timeout, project.timeout("up"))
    restore(project, docker, Options(limit, at, backup, dry_run, take_over, files, yes))
