"""Services that are unavailable with the image set in use; listed with the services, never counted as passed."""

from __future__ import annotations

from collections.abc import Iterable

from toolkit.checkout.project import LOCAL, Project
from toolkit.checkout.setup import settings
from toolkit.checkout.variables import parse
from toolkit.core.console import say

REASON = "not in the local images; its alerts, panels and checks are skipped"


def services(project: Project) -> list[str]:
    """The services of the enabled groups that the local set in use lacks, sorted by name.

    In the local set they have the Compose profile ``absent`` instead of those of their own layer.

    Raises:
        ToolkitError: a compose file cannot be read.
    """
    if project.images != LOCAL:
        return []
    wanted = settings(project)
    absent, enabled = [project.data["absent"]], set(wanted["COMPOSE_PROFILES"].split(","))
    lacking, profiles = set[str](), dict[str, list[str]]()
    for layer in wanted["COMPOSE_FILE"].split(":"):
        for name, service in (parse(project.root / layer).get("services") or {}).items():
            if service.get("profiles") == absent:
                lacking.add(name)
            elif "profiles" in service:
                profiles[name] = service["profiles"]
    return sorted(name for name in lacking if name not in profiles or enabled.intersection(profiles[name]))


def show(project: Project) -> None:
    """Print a line for each unavailable service."""
    show_names(services(project))


def show_names(names: Iterable[str]) -> None:
    """Print a line for each of these unavailable services."""
    for name in names:
        say(f"unavailable: {name}: {REASON}", "skipped")
