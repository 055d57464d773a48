"""Builders of containers in the form of `docker inspect`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from toolkit.engine import shapes
from toolkit.engine.health import ServiceState, parse_container

NEVER = "0001-01-01T00:00:00Z"


def ago(seconds: float) -> str:
    """A time in the engine's format, this many seconds ago."""
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def container(
    service: str = "db",
    status: str = "running",
    health: str | None = "healthy",
    *,
    checks: list[tuple[float, int, str]] | None = None,
    started: float | None = 60,
    code: int = 0,
    restarts: int = 0,
    policy: str = "unless-stopped",
    **more: Any,
) -> dict[str, Any]:
    """A container; ``started`` is seconds ago, ``checks`` are (seconds ago, exit code, output), oldest first."""
    state: dict[str, Any] = {
        "Status": status,
        "ExitCode": code,
        "Error": more.get("error", ""),
        "OOMKilled": more.get("out_of_memory", False),
        "StartedAt": NEVER if started is None else ago(started),
        "FinishedAt": NEVER if status == "running" else ago(1),
    }
    if health:
        log = [{"Start": ago(at), "End": ago(at), "ExitCode": exit_code, "Output": output}
               for at, exit_code, output in checks or []]  # fmt: skip
        state["Health"] = {"Status": health, "FailingStreak": len(log), "Log": log}
    number = more.get("number", 1)
    return {
        "Id": more.get("id", f"id-{service}-{number}"),
        "Name": f"/network-monitor-{service}-{number}",
        "RestartCount": restarts,
        "State": state,
        "HostConfig": {"RestartPolicy": {"Name": policy}},
        "Config": {
            "Labels": {
                "com.docker.compose.service": service,
                "com.docker.compose.container-number": str(number),
                **more.get("labels", {}),
            }
        },
        "NetworkSettings": {"Ports": more.get("ports", {})},
    }


def state(*args: Any, **kwargs: Any) -> ServiceState:
    """The parsed state of a `container`."""
    return parse_container(cast(shapes.Container, container(*args, **kwargs)))
