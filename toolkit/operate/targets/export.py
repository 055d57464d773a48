"""Write the stored targets as a file, which changes nothing when it is applied."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from toolkit.checkout.project import Project
from toolkit.core import console, files
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Docker
from toolkit.operate.targets.client import Client
from toolkit.operate.targets.targetfile import CREDENTIALS, MASK, NOT_SHARED, SECRET

SCHEMA = "TargetBody"
SPECS = {
    "http": "HttpSpec",
    "tcp": "TcpSpec",
    "tls": "TlsSpec",
    "grpc": "GrpcSpec",
    "dns": "DnsSpec",
    "ping": "PingSpec",
    "heartbeat": "HeartbeatSpec",
}
"""The schema of each kind in the OpenAPI document."""
WINDOW = ("name", "target", "tag", "once", "weekly")
"""The settings of a maintenance window."""
HEADER = """\
# The targets of the Network Monitor: invoke targets.apply stores them, invoke targets.diff compares them.
# Settings that are not given have their defaults (docs/targets.md).
"""
MASKED = f"""\
# {MASK} stands for a credential that is stored in the database, which keeps it. To keep it in a file instead:
# write it into secrets/targets/NAME, and {SECRET}NAME here.
"""


def export(project: Project, docker: Docker, path: str, *, yes: bool) -> None:
    """Write the stored targets to a file, or to the standard output if the path is empty or ``-``.

    Raises:
        ToolkitError: the application does not answer, the file cannot be written, or the user declines to overwrite it.
    """
    client = Client.of(project, docker)
    targets = list(client.targets())
    windows = windows_of(client.windows(), targets, datetime.now(UTC))
    write(render(targets, client.defaults(), windows), path, yes=yes)
    for warning in warnings(targets):
        print(f"warning: {warning}", file=sys.stderr)


def write(text: str, path: str, *, yes: bool) -> None:
    """Write a file, or the standard output if the path is empty or ``-``; overwriting a file requires confirmation.

    Raises:
        ToolkitError: the file cannot be written, or the user declines.
    """
    if path in ("", "-"):
        sys.stdout.write(text)
        return
    file = Path(path)
    if file.exists():
        if file.read_bytes() == text.encode():
            console.say(f"{path} is up to date")
            return
        console.confirm(f"overwrite {path}", yes)
    files.write_atomically(file, text)
    console.say(f"{path} written", "done")


def render(
    targets: Sequence[Mapping[str, Any]],
    defaults: Mapping[str, Mapping[str, Any]],
    windows: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Targets of the API as the content of a file, without settings that have their defaults.

    Args:
        targets: The targets.
        defaults: The defaults of each schema, see `Client.defaults`.
        windows: The entries of maintenance windows.

    Raises:
        ToolkitError: the defaults lack a schema.
    """
    missing = {SCHEMA, *(SPECS[target["spec"]["kind"]] for target in targets)} - defaults.keys()
    if missing:
        raise ToolkitError("cannot export", f"the application describes no {', '.join(sorted(missing))}", "deploy it")
    entries = [entry(target, defaults) for target in targets]
    masked = any(_is_masked(each["spec"]) for each in entries)
    return HEADER + MASKED * masked + dump({"targets": entries} | ({"maintenance": windows} if windows else {}))


def windows_of(
    windows: Iterable[Mapping[str, Any]], targets: Sequence[Mapping[str, Any]], now: datetime
) -> list[dict[str, Any]]:
    """Maintenance windows of the API as entries of a file: with the names of targets, without those that have ended."""
    names = {each["id"]: each["name"] for each in targets}
    found = []
    for window in windows:
        once = window.get("once")
        if once and datetime.fromisoformat(once["ends_at"]) <= now:
            continue
        entry = {name: window[name] for name in WINDOW if window.get(name) is not None}
        if "target" in entry:
            entry["target"] = names.get(entry["target"], entry["target"])
        found.append(entry)
    return found


def entry(target: Mapping[str, Any], defaults: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A target of the API as an entry of a file: name and spec first."""
    settings, spec = defaults[SCHEMA], target["spec"]
    own = defaults[SPECS[spec["kind"]]]
    shortened = {"kind": spec["kind"]} | {
        name: value for name, value in spec.items() if name != "kind" and not _is(own, name, value)
    }
    rest = {
        name: target[name]
        for name in settings
        if name in target and name not in NOT_SHARED and not _is(settings, name, target[name])
    }
    return {"name": target["name"], "spec": shortened, **rest}


def dump(value: Mapping[str, Any]) -> str:
    """A value as YAML, in block style and the given order."""
    return yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True, width=120)


def warnings(targets: Sequence[Mapping[str, Any]]) -> list[str]:
    """What readers of the file should know about its credentials."""
    found = []
    masked = [each["name"] for each in targets if _is_masked(each["spec"])]
    bodies = [
        each["name"] for each in targets if "body" in each["spec"] and not each["spec"]["body"].startswith(SECRET)
    ]
    queries = [each["name"] for each in targets if "?" in each["spec"].get("url", "")]
    if masked:
        found.append(
            f"credentials of {_some(masked)} are masked as {MASK}: the application keeps them, "
            f"another one would need them as {SECRET}NAME"
        )
    if queries:
        found.append(f"the URL of {_some(queries)} has a query, which the file shows: is it a credential?")
    if bodies:
        found.append(f"the body that is sent to {_some(bodies)} is in the file: has it a credential?")
    return found


def _is_masked(spec: Mapping[str, Any]) -> bool:
    return MASK in (*spec.get("headers", {}).values(), *(spec.get(name) for name in CREDENTIALS))


def _is(defaults: Mapping[str, Any], name: str, value: object) -> bool:
    return name in defaults and defaults[name] == value


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + f" and {len(names) - 5} more" * (len(names) > 5)
