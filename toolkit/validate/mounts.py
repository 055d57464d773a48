"""Check of bind mounts: every mounted file of the checkout is in every clone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding


def sources(checkout: Checkout) -> Iterator[Finding]:
    """Every bind-mounted file or folder of the checkout exists and is tracked by git; the engine creates none."""
    for each in checkout.full_configurations:
        for name, service in each.services.items():
            mounts = [mount for mount in service.get("volumes", []) if mount["type"] == "bind"]
            for mount in mounts:
                source = Path(mount["source"])
                problem = ""
                if source.is_relative_to(checkout.root):
                    problem = _problem(checkout, str(source.relative_to(checkout.root)))
                if not problem and mount.get("bind", {}).get("create_host_path"):
                    problem = "would be created as an empty folder if missing (create_host_path)"
                yield checkout.mount(each.files, name, mount["target"], problem and f"{name}: {source.name} {problem}")


def _problem(checkout: Checkout, name: str) -> str:
    if not (checkout.root / name).exists():
        return "does not exist"
    if name not in checkout.tracked and not any(file.startswith(f"{name}/") for file in checkout.tracked):
        return "is not tracked by git"
    return ""
