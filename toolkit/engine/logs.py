"""The logs of the services."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from toolkit.core.errors import ToolkitError, require_known
from toolkit.engine.compose import Docker


def logs(
    docker: Docker,
    services: Sequence[str] = (),
    *,
    follow: bool = False,
    tail: int | None = None,
    since: str | None = None,
) -> None:
    """Print the log lines of the services (default: all), each with the name of its service.

    Args:
        docker: Docker in the project's folder.
        services: Only these services.
        follow: Continue until Ctrl-C.
        tail: The maximum number of lines per container.
        since: Only lines since this time, in the syntax of ``docker logs``.

    Raises:
        ToolkitError: a service is unknown (exit code 2), or docker cannot show the logs.
    """
    configured = docker.effective(every_group=True)["services"]
    for service in services:
        require_known("service", service, configured)
    options = [*(["--follow"] if follow else []), *([f"--tail={tail}"] if tail is not None else [])]
    options += [f"--since={since}"] if since else []
    # The services of a group that is off may still have containers with logs.
    with contextlib.suppress(KeyboardInterrupt):
        result = docker.compose("--profile", "*", "logs", *options, *services, capture=False)
        if result.code:
            raise ToolkitError(
                "cannot show the logs", "docker compose failed, see above", "invoke doctor looks for the cause"
            )
