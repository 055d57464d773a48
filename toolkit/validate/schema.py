"""Check of dashboards against the schema of the Grafana that is pinned: the types of its npm package `@grafana/schema`.

The types are those of dashboards, and of the options and fields of each kind of panel. TypeScript compares them, so an
unknown setting, a wrong type or a value that is none of the known ones is found. Without the packages or Node.js the
check is skipped by name; `nox -s validate` installs them with ``python -m toolkit.validate.schema``.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from shutil import which

from toolkit.core import terminal
from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.grafana import dashboard_files
from toolkit.validate.programs import GRAMMARS, Skipped

NAME = "grafana-schema"
COMPOSE = "docker-compose.monitoring.yml"
TYPESCRIPT = "typescript@5.9.3"
INSTALLED = Path(".netmon/schema")
CHECKER = Path(__file__).with_suffix(".cjs")
TIMEOUT_SECONDS = 120
MAX_PROBLEM = 300
"""Characters of a message: TypeScript repeats whole types."""


def packages(checkout: Checkout) -> tuple[str, str]:
    """The npm packages: the schema of the version of Grafana in the compose file, and TypeScript."""
    image: str = checkout.source(COMPOSE).data["services"]["grafana"]["image"]
    return f"@grafana/schema@{image.rpartition(':')[2]}", TYPESCRIPT


def dashboards(checkout: Checkout) -> Iterator[Finding | Skipped]:
    """Every dashboard is valid for the schema of Grafana."""
    installed = checkout.root / INSTALLED
    missing = [each for each in packages(checkout) if not _is_installed(installed, each)]
    if which("node") is None or missing:
        why = f"not installed: {', '.join(missing) or 'node'}"
        yield Skipped(NAME, why, GRAMMARS, "run: nox -s validate, which installs them")
        return
    found = [*dashboard_files(checkout).values()]
    checked = subprocess.run(
        ["node", str(CHECKER), str(installed)], input=json.dumps([each.model for each in found]),
        capture_output=True, encoding="utf-8", check=True, timeout=TIMEOUT_SECONDS,
    )  # fmt: skip
    problems = json.loads(checked.stdout)
    for problem in problems:
        message = " ".join(problem["message"].split())[:MAX_PROBLEM]
        yield found[problem["number"]].at(*problem["keys"], problem=f"not valid for Grafana: {message}")
    failed = {problem["number"] for problem in problems}
    yield from (each.at() for number, each in enumerate(found) if number not in failed)


def _is_installed(folder: Path, package: str) -> bool:
    name, _, version = package.rpartition("@")
    try:
        described = json.loads((folder / "node_modules" / name / "package.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(described.get("version") == version)


def install(root: Path) -> None:
    """Install the packages below the checkout ``root``, where ``dashboards`` looks for them.

    Raises:
        subprocess.CalledProcessError: npm failed.
    """
    options = ("--silent", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts")
    command = ["npm", "install", *options, "--prefix", str(root / INSTALLED), *packages(Checkout(root))]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    terminal.run(lambda: install(Path(__file__).parents[2]))
