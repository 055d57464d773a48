"""Heartbeat URLs: created and shown once, since the application stores only a hash of their tokens."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.checkout.project import Project
from toolkit.core import console
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Docker
from toolkit.operate.targets.client import Client
from toolkit.operate.targets.targetfile import TargetFile

PROXY = "proxy"


def renew(project: Project, docker: Docker, name: str, *, revoke: bool, yes: bool) -> None:
    """Give a target of kind heartbeat a new URL and print it, or remove its URL.

    Args:
        project: The checkout.
        docker: Docker in its folder.
        name: The name of the target.
        revoke: Remove the URL instead.
        yes: Do not ask: the former URL stops working.

    Raises:
        ToolkitError: there is no such target, the application does not answer, or the user declines.
    """
    client = Client.of(project, docker)
    target = next((each for each in client.targets() if each["name"] == name), None)
    if target is None:
        raise ToolkitError(f"there is no target {name!r}", "names are compared exactly", "invoke targets.export")
    if target["spec"]["kind"] != "heartbeat":
        raise ToolkitError(f"{name} has no heartbeat URL", f"it is of kind {target['spec']['kind']}")
    if revoke:
        console.confirm(f"revoke the URL of {name}", yes)
        client.revoke_heartbeat_url(target["id"])
        console.say(f"the URL of {name} is revoked", "done")
        return
    console.confirm(f"create a URL for {name}, after which a former one stops working", yes)
    print(base(client, docker) + client.renew_heartbeat_url(target["id"]))


def create(client: Client, docker: Docker, file: TargetFile, done: Mapping[str, Any]) -> None:
    """Create and show the URLs of heartbeat targets that have just been stored.

    Without a terminal none is created: the output of a pipeline is kept, and read by others.

    Args:
        client: The application.
        docker: Docker in the folder of the checkout.
        file: The file that was applied.
        done: The changes, see `Client.change`.
    """
    kinds = {each["name"]: each["spec"].get("kind") for each in file.targets}
    became = [each for each in done["updated"] if _becomes_heartbeat(each["changes"])]
    stored = [each for each in done["created"] if kinds.get(each["name"]) == "heartbeat"] + became
    if not stored:
        return
    if not sys.stdout.isatty():
        names = ", ".join(each["name"] for each in stored)
        console.say(f"without a URL yet: {names}; invoke targets.heartbeat-url --name=NAME creates one", "warning")
        return
    console.say("heartbeat URLs, which are not shown again:")
    origin = base(client, docker)
    for each in stored:
        console.say(f"  {each['name']}: {origin}{client.renew_heartbeat_url(each['id'])}")


def base(client: Client, docker: Docker) -> str:
    """The public base URL of the application; without a proxy, that of its published port."""
    proxy: Mapping[str, Any] = docker.effective()["services"].get(PROXY, {})
    return str(proxy.get("environment", {}).get("PUBLIC_URL") or client.base)


def _becomes_heartbeat(changes: Sequence[Mapping[str, Any]]) -> bool:
    return any((each["field"], each["after"]) == ("spec.kind", "heartbeat") for each in changes)
