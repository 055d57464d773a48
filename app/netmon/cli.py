"""The command line: which command, with which settings, and how it ends."""

import argparse
import asyncio
import os
import sys
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from pathlib import Path

from netmon.settings import Settings, SettingsError, load

EX_CONFIG = 78
"""Exit code for a missing or invalid variable (sysexits.h)."""

SERVICE_NAMES = {"api": "netmon-app", "worker": "netmon-worker"}
"""How the commands are called in traces."""


def main(arguments: Sequence[str]) -> int:
    """Run one command to its end and return the exit code."""
    parser = argparse.ArgumentParser(prog="netmon", description="The Network Monitor.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("api", help="serve the HTTP API")
    commands.add_parser("worker", help="carry out queued probes and keep the latest states")
    commands.add_parser("migrate", help="bring the schema of the database up to date, and end")
    smoke = commands.add_parser("smoke", help="one client operation for each service, as JSON lines")
    smoke.add_argument("--only", nargs="+", metavar="NAME", help="these checks only")
    options = parser.parse_args(arguments)

    try:
        settings = load(os.environ, api=options.command == "api")
    except SettingsError as error:
        for problem in error.problems:
            print(f"netmon: {problem}", file=sys.stderr)
        return EX_CONFIG

    if options.command == "smoke":
        from netmon.smoke import main as run_smoke

        return run_smoke(settings, options.only)
    if options.command == "migrate":
        return _migrate(settings)
    if settings.reload:
        return _reloading(options.command)
    run_service(options.command)
    return 0


def _migrate(settings: Settings) -> int:
    """Bring the schema up to date; 1 where that fails, with the reason in the log."""
    from psycopg import Error

    from netmon import logs
    from netmon.database import Database
    from netmon.supervision import describe

    logs.configure("migrate", settings.log_level)
    try:
        asyncio.run(Database(settings.database_url, application="netmon-migrate").migrate())
    except Error as error:
        logs.logger(__name__).critical("schema not migrated", reason=describe(error))
        return 1
    return 0


def run_service(name: str) -> None:
    """Run `api` or `worker` until it is told to stop."""
    # uvloop resolves names in libuv's threads, half of which may do so at a time: with the default of 4, two targets
    # whose names do not resolve would hold up every other name, those of the platform's own services included.
    os.environ.setdefault("UV_THREADPOOL_SIZE", "64")
    import uvloop

    from netmon import logs, tracing

    settings = load(os.environ)
    logs.configure(name, settings.log_level)
    tracing.configure(SERVICE_NAMES[name], settings.version, export=settings.export_traces)
    uvloop.run(_to_the_end(_service(name, settings)))


async def _to_the_end(service: Coroutine[object, object, None]) -> None:
    """Run a service and end the process, with exit code 1 if it failed.

    The process is ended from inside the loop, with everything closed: the loop's own end would wait for name look-ups
    that hang, longer than the engine waits before it kills.
    """
    from netmon import logs, tracing
    from netmon.supervision import deadline

    code = 0
    try:
        await service
    except Exception:
        logs.logger(__name__).critical("service failed", exc_info=True)
        code = 1
    with suppress(TimeoutError):
        await deadline(asyncio.to_thread(tracing.shutdown), tracing.STOP_TIMEOUT)
    sys.stdout.flush()
    os._exit(code)


def _service(name: str, settings: Settings) -> Coroutine[object, object, None]:
    if name == "worker":
        from netmon import worker

        return worker.run(settings)
    from netmon import api

    return api.run(settings)


def _reloading(name: str) -> int:
    """Run the service in a child process that is restarted whenever a source file changes."""
    import watchfiles

    watchfiles.run_process(
        Path(__file__).parent,
        target=run_service,
        args=(name,),
        # The child stops as gracefully as in production: a worker may have a probe in flight.
        sigint_timeout=30,
    )
    return 0
