"""LogQL and TraceQL of the dashboards, held against the grammars of Grafana's own editors.

They are npm packages; where they or Node.js are missing, the check is skipped by name. `nox -s validate` brings Node.js
and installs them with ``python -m toolkit.validate.grammars``.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from shutil import which

from toolkit.checkout import dashboards
from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.grafana import dashboard_files, targets
from toolkit.validate.programs import GRAMMARS, Skipped

PACKAGES = ("@grafana/lezer-logql@0.4.2", "@grafana/lezer-traceql@1.0.0")
INSTALLED = Path(".netmon/grammars")
PARSER = Path(__file__).with_suffix(".cjs")
LANGUAGES = {"loki": "LogQL", "tempo": "TraceQL"}
SECONDS = 30


def queries(checkout: Checkout) -> Iterator[Finding | Skipped]:
    """Every query of Loki and Tempo is understood to its end."""
    installed = checkout.root / INSTALLED
    missing = [name for name in PACKAGES if not (installed / "node_modules" / name.rpartition("@")[0]).is_dir()]
    if which("node") is None or missing:
        yield Skipped(GRAMMARS, f"{', '.join(missing) or 'node'} is not installed", GRAMMARS)
        return
    asked = [
        (dashboard, (*keys, "expr" if "expr" in target else "query"), target["datasource"]["type"], text)
        for dashboard in dashboard_files(checkout).values()
        for keys, target in targets(dashboard.model)
        if target["datasource"]["type"] in LANGUAGES
        and (text := dashboards.with_defaults(dashboards.query_text(target), dashboard.model))
    ]
    parsed = subprocess.run(
        ["node", str(PARSER), str(installed)],
        input=json.dumps([(language, text) for _, _, language, text in asked]),
        capture_output=True, text=True, check=True, timeout=SECONDS,
    )  # fmt: skip
    for (dashboard, keys, language, text), position in zip(asked, json.loads(parsed.stdout), strict=True):
        problem = "" if position is None else f"not {LANGUAGES[language]} at {text[position:][:30]!r} of {text}"
        yield dashboard.at(*keys, problem=problem)


def install(root: Path) -> None:
    """Put the packages where ``queries`` looks for them, below the checkout ``root``.

    Raises:
        subprocess.CalledProcessError: npm cannot.
    """
    options = ("--silent", "--no-save", "--no-package-lock", "--no-audit", "--no-fund")
    subprocess.run(["npm", "install", *options, "--prefix", str(root / INSTALLED), *PACKAGES], check=True)


if __name__ == "__main__":
    install(Path(__file__).parents[2])
