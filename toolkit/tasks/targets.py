"""Tasks for targets as code."""

from __future__ import annotations

from invoke.context import Context

from toolkit.tasks import checkout, task

PATH = "the file; default: targets.yml beside the compose files; - is the standard input"


@task(
    help={
        "file": PATH,
        "prune": "delete the targets that are not in the file, with their history",
        "yes": "do not ask",
    }
)
def apply(c: Context, file: str = "", prune: bool = False, yes: bool = False) -> None:
    """Show the difference between targets.yml and the application, ask, and apply it: everything or nothing."""
    from toolkit.operate.targets.apply import apply
    from toolkit.operate.targets.targetfile import FILE

    project, docker = checkout(c)
    apply(project, docker, file or str(project.root / FILE), prune=prune, yes=yes)


@task(help={"file": PATH})
def diff(c: Context, file: str = "") -> None:
    """Show the difference between targets.yml and the application; exit code 1 if there is one, 2 on an error."""
    from toolkit.operate.targets.apply import diff
    from toolkit.operate.targets.targetfile import FILE

    project, docker = checkout(c)
    diff(project, docker, file or str(project.root / FILE))


@task(help={"file": "the file to write; default: the standard output", "yes": "overwrite the file without asking"})
def export(c: Context, file: str = "", yes: bool = False) -> None:
    """Write the targets of the application as targets.yml."""
    from toolkit.operate.targets.export import export

    export(*checkout(c), file, yes=yes)


@task(
    name="heartbeat-url",
    help={
        "name": "the name of the target",
        "revoke": "remove the URL instead of creating a new one",
        "yes": "do not ask",
    },
)
def heartbeat_url(c: Context, name: str, revoke: bool = False, yes: bool = False) -> None:
    """Create and print the URL to which the job of a heartbeat target reports; a former URL stops working."""
    from toolkit.operate.targets.heartbeaturl import renew

    renew(*checkout(c), name, revoke=revoke, yes=yes)


@task(
    name="import",
    help={
        "gatus": "the configuration file of Gatus",
        "uptime-kuma": "the SQLite database of Uptime Kuma, kuma.db",
        "file": "the file to write; default: the standard output",
        "yes": "overwrite the file without asking",
    },
)
def import_(c: Context, gatus: str = "", uptime_kuma: str = "", file: str = "", yes: bool = False) -> None:  # noqa: ARG001
    """Write the targets of another monitor as targets.yml, and list settings that cannot be imported."""
    from toolkit.operate.targets.importing.run import run

    run(gatus, uptime_kuma, file, yes=yes)
