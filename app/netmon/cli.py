"""The command line: commands, their settings and their exit codes."""

import argparse
import asyncio
import os
import sys
from collections.abc import Coroutine, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

from netmon.settings import Settings, SettingsError, load

EX_CONFIG = 78
"""Exit code for a missing or invalid variable (sysexits.h)."""

SERVICE_NAMES = {"api": "netmon-app", "worker": "netmon-worker"}
"""The service names of the commands in traces."""

SWITCH_SECONDS = 0.001
"""How long a thread keeps the interpreter while others wait for it. Each step of a request would wait 5 ms, the
default, for a thread that renders metrics or exports spans."""


def main(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code."""
    parser = argparse.ArgumentParser(prog="netmon", description="The Network Monitor.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("api", help="serve the HTTP API")
    commands.add_parser("worker", help="schedule and execute probes, store results, publish and consume events")
    commands.add_parser("migrate", help="migrate the database schema and exit")
    commands.add_parser("requeue", help="queue accepted probes again whose jobs may be lost, as after a restore")
    smoke = commands.add_parser("smoke", help="check each service with a client operation; prints JSON lines")
    smoke.add_argument("--only", nargs="+", metavar="NAME", help="run these checks only")
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
    if options.command == "requeue":
        return _requeue(settings)
    if settings.reload:
        return _run_with_reload(options.command)
    run_service(options.command)
    return 0


def _migrate(settings: Settings) -> int:
    """Migrate the schema; returns 1 if that fails, with the reason in the log."""
    from psycopg import Error

    from netmon import logs
    from netmon.database import Database
    from netmon.supervision import describe

    logs.configure("migrate", settings.log_level)
    try:
        asyncio.run(Database(settings.database_url, application="netmon-migrate").migrate())
    except Error as error:
        logs.logger(__name__).critical("schema migration failed", reason=describe(error))
        return 1
    return 0


def _requeue(settings: Settings) -> int:
    """Queue probes again and print their number; returns 1 if that fails, with the reason in the log."""
    from psycopg import Error

    from netmon import logs, requeue
    from netmon.jobs import QueueUnavailableError
    from netmon.supervision import describe

    logs.configure("requeue", settings.log_level)
    try:
        print(asyncio.run(requeue.run(settings)))
    except (Error, QueueUnavailableError, TimeoutError) as error:
        logs.logger(__name__).critical("probes not queued again", reason=describe(error))
        return 1
    return 0


def run_service(name: str) -> None:
    """Run `api` or `worker` until it is stopped."""
    # uvloop resolves names in the thread pool of libuv, half of which may do so at a time: with the default of 4, two
    # lookups that hang would block all others, including those of the platform's own services.
    os.environ.setdefault("UV_THREADPOOL_SIZE", "64")
    sys.setswitchinterval(SWITCH_SECONDS)
    import uvloop

    from netmon import logs, tracing

    settings = load(os.environ)
    logs.configure(name, settings.log_level)
    tracing.configure(SERVICE_NAMES[name], settings.version, export=settings.export_traces)
    uvloop.run(_run_and_exit(_service(name, settings), watched=not settings.reload))


async def _run_and_exit(service: Coroutine[object, object, None], *, watched: bool) -> None:
    """Run a service and exit the process, with code 1 if the service failed, or if it hangs with that of the watchdog.

    There is no watchdog where the service is restarted on changes: a developer may hold it at a breakpoint.

    The process exits from inside the event loop, after everything is closed: closing the loop would wait for hanging
    name lookups, for longer than the engine waits before it sends SIGKILL.
    """
    from netmon import logs, tracing, watchdog
    from netmon.supervision import deadline

    code = 0
    try:
        with watchdog.watching() if watched else nullcontext():
            await service
    except Exception:
        logs.logger(__name__).critical("service failed", exc_info=True)
        code = 1
    with suppress(TimeoutError):
        await deadline(asyncio.to_thread(tracing.shutdown), tracing.STOP_TIMEOUT_SECONDS)
    sys.stdout.flush()
    os._exit(code)


def _service(name: str, settings: Settings) -> Coroutine[object, object, None]:
    if name == "worker":
        from netmon import worker

        return worker.run(settings)
    from netmon import api

    return api.run(settings)


def _run_with_reload(name: str) -> int:
    """Run the service in a child process, which is restarted when a source file changes."""
    import watchfiles

    watchfiles.run_process(
        Path(__file__).parent,
        target=run_service,
        args=(name,),
        # Time for a graceful stop: a worker may have probes in flight.
        sigint_timeout=30,
    )
    return 0
