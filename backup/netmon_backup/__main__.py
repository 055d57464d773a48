"""The commands of the service. The last line of each is its result as JSON; ``serve`` runs the service."""

from __future__ import annotations

import argparse
import base64
import json
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from netmon_backup import commands, platform, state
from netmon_backup.backups import open_repository, take
from netmon_backup.catalog import Catalog
from netmon_backup.errors import BackupError
from netmon_backup.postgres import Database
from netmon_backup.repository import Repository
from netmon_backup.restore import exchange, plans, prepare
from netmon_backup.service import Service
from netmon_backup.settings import Settings
from netmon_backup.verify import rehearse, verify
from netmon_backup.wal import log, transfer

PATIENCE_SECONDS = 60.0
"""How long a command waits for a backup that the service is taking."""


def main() -> int:
    """Run the command of the arguments; returns the exit code."""
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, _stop)
    try:
        settings = Settings.load()
        database = Database(settings)
        repository = Repository(settings, state.load(settings.data).owner)
        if arguments.command == "serve":
            Service(settings, database, repository).run()
            return 0
        patient = replace(settings, patience=PATIENCE_SECONDS)
        result = COMMANDS[arguments.command](patient, database, repository, arguments)
    except BackupError as error:
        print(json.dumps({"error": {"what": error.what, "why": error.why, "fix": error.fix}}), flush=True)
        return 1
    print(json.dumps({"result": result}), flush=True)
    return 0


def _stop(*_: object) -> None:
    commands.terminate()
    raise SystemExit(143)


def _backup(settings: Settings, database: Database, repository: Repository, arguments: argparse.Namespace) -> Any:
    backup = take(settings, database, repository, full=arguments.full)
    return _shown(backup.tags)


def _status(settings: Settings, _: Database, repository: Repository, arguments: argparse.Namespace) -> Any:
    known = asdict(state.load(settings.data))
    known["own"] = True
    if not arguments.offline:
        catalog = repository.catalog()
        known["backups"] = [_shown(each.tags) for each in catalog.backups]
        known["until"] = max((each.until for each in catalog.wal), default=None)
        known["platform_commit"] = catalog.platform[-1].commit if catalog.platform else None
        known["own"] = catalog.claim is not None and catalog.claim.owner == repository.owner
    return json.loads(json.dumps(known, default=str))


def _verify(settings: Settings, database: Database, repository: Repository, _: argparse.Namespace) -> Any:
    return verify(settings, database, repository)


def _rehearse(settings: Settings, database: Database, repository: Repository, _: argparse.Namespace) -> Any:
    return rehearse(settings, database, repository)


def _plan(settings: Settings, database: Database, repository: Repository, arguments: argparse.Namespace) -> Any:
    catalog = _current(settings, database, repository)
    return plans(catalog, arguments.at, arguments.backup)[0].summary


def _prepare(settings: Settings, database: Database, repository: Repository, arguments: argparse.Namespace) -> Any:
    if arguments.take_over:
        repository.claim()
        state.update(settings.data, repository=True)
    catalog = _current(settings, database, repository)
    return prepare(settings, repository, catalog, at=arguments.at, name=arguments.backup)


def _current(settings: Settings, database: Database, repository: Repository) -> Catalog:
    """The catalog, after a transfer of what this host has received; on another host, of what the repository has."""
    catalog = repository.catalog()
    claim = catalog.claim
    if claim is None or claim.owner != repository.owner or not state.load(settings.data).repository:
        return catalog
    try:
        return transfer(settings, database, repository)
    except BackupError as error:
        log(f"the database does not answer, so what was received until now is used: {error.line}")
        return transfer(settings, database, repository, current=False)


def _exchange(settings: Settings, _: Database, __: Repository, arguments: argparse.Namespace) -> Any:
    return exchange(settings, arguments.name)


def _put(settings: Settings, _: Database, repository: Repository, arguments: argparse.Namespace) -> Any:
    return platform.put(settings, repository, base64.b64decode(sys.stdin.buffer.read()), arguments.commit)


def _get(settings: Settings, _: Database, repository: Repository, arguments: argparse.Namespace) -> Any:
    archive = platform.get(settings, repository, repository.catalog(), arguments.at)
    return base64.b64encode(archive).decode()


def _check(settings: Settings, _: Database, repository: Repository, arguments: argparse.Namespace) -> Any:
    open_repository(settings, repository)
    repository.check(arguments.part)
    return "no errors were found"


COMMANDS: Mapping[str, Callable[[Settings, Database, Repository, argparse.Namespace], Any]] = {
    "backup": _backup, "status": _status, "verify": _verify, "rehearse": _rehearse, "plan": _plan, "prepare": _prepare,
    "exchange": _exchange, "platform-put": _put, "platform-get": _get, "check": _check,
}  # fmt: skip


def _shown(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: tags[name] for name in ("id", "kind", "parent", "ended", "bytes")}


def parse_time(text: str) -> datetime:
    """A time with its offset from UTC; without one it is UTC.

    Raises:
        argparse.ArgumentTypeError: it is no time.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2026-11-30T14:05:00+00:00") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="netmon_backup", description=__doc__)
    subcommands = parser.add_subparsers(dest="command", required=True)
    subcommands.add_parser("serve")
    subcommands.add_parser("backup").add_argument("--full", action="store_true")
    subcommands.add_parser("status").add_argument("--offline", action="store_true")
    subcommands.add_parser("verify")
    subcommands.add_parser("rehearse")
    for name in ("plan", "prepare"):
        each = subcommands.add_parser(name)
        each.add_argument("--at", type=parse_time)
        each.add_argument("--backup", default="")
        each.add_argument("--take-over", action="store_true")
    subcommands.add_parser("exchange").add_argument("name")
    subcommands.add_parser("platform-put").add_argument("--commit", default="")
    subcommands.add_parser("platform-get").add_argument("--at", type=parse_time)
    subcommands.add_parser("check").add_argument("--part", default="")
    return parser


if __name__ == "__main__":
    sys.exit(main())
