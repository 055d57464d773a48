"""Check of the dashboards' LogQL and TraceQL with the grammars of Grafana's own editors.

The grammars are npm packages; without them or Node.js the check is skipped by name. `nox -s validate` provides Node.js
and installs the grammars with ``python -m toolkit.validate.grammars``.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from shutil import which

from toolkit.checkout import dashboards
from toolkit.core import terminal
from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.grafana import dashboard_files, targets
from toolkit.validate.programs import GRAMMARS, Skipped

PACKAGES = ("@grafana/lezer-logql@0.4.2", "@grafana/lezer-traceql@1.0.0")
INSTALLED = Path(".netmon/grammars")
PARSER = Path(__file__).with_suffix(".cjs")
LANGUAGES = {"loki": "LogQL", "tempo": "TraceQL"}
TIMEOUT_SECONDS = 30


def queries(checkout: Checkout) -> Iterator[Finding | Skipped]:
    """Every query of Loki and Tempo parses completely."""
    installed = checkout.root / INSTALLED
    missing = [name for name in PACKAGES if not (installed / "node_modules" / name.rpartition("@")[0]).is_dir()]
    if which("node") is None or missing:
        yield Skipped(
            GRAMMARS,
            f"not installed: {', '.join(missing) or 'node'}",
            GRAMMARS,
            "run: nox -s validate, which installs them",
        )
        return
    found = [
        (dashboard, (*keys, "expr" if "expr" in target else "query"), target["datasource"]["type"], text)
        for dashboard in dashboard_files(checkout).values()
        for keys, target in targets(dashboard.model)
        if target["datasource"]["type"] in LANGUAGES
        and (text := dashboards.with_defaults(dashboards.query_text(target), dashboard.model))
    ]
    parsed = subprocess.run(
        ["node", str(PARSER), str(installed)],
        input=json.dumps([(language, text) for _, _, language, text in found]),
        capture_output=True, encoding="utf-8", check=True, timeout=TIMEOUT_SECONDS,
    )  # fmt: skip
    for (dashboard, keys, language, text), position in zip(found, json.loads(parsed.stdout), strict=True):
        problem = "" if position is None else f"not {LANGUAGES[language]} at {text[position:][:30]!r} of {text}"
        yield dashboard.at(*keys, problem=problem)


def install(root: Path) -> None:
    """Install the packages below the checkout ``root``, where ``queries`` looks for them.

    Raises:
        subprocess.CalledProcessError: npm failed.
    """
    options = ("--silent", "--no-save", "--no-package-lock", "--no-audit", "--no-fund")
    subprocess.run(["npm", "install", *options, "--prefix", str(root / INSTALLED), *PACKAGES], check=True)


if __name__ == "__main__":
    terminal.run(lambda: install(Path(__file__).parents[2]))
