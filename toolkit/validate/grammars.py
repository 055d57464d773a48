"""Check of the LogQL and TraceQL of dashboards and rules with the grammars of Grafana's own editors.

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
from toolkit.validate.alerts import LOG_RULES, rules
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
    """Every query of Loki and Tempo parses completely, and every rule of Loki."""
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
    written = rules(checkout, LOG_RULES)
    parsed = subprocess.run(
        ["node", str(PARSER), str(installed)],
        input=json.dumps([*(each[2:] for each in found), *(("loki", rule.data["expr"]) for rule in written)]),
        capture_output=True, encoding="utf-8", check=True, timeout=TIMEOUT_SECONDS,
    )  # fmt: skip
    positions = json.loads(parsed.stdout)
    for (dashboard, keys, language, text), position in zip(found, positions[: len(found)], strict=True):
        yield dashboard.at(*keys, problem=_problem(language, text, position))
    for rule, position in zip(written, positions[len(found) :], strict=True):
        yield rule.at("expr", problem=_problem("loki", rule.data["expr"], position))


def _problem(language: str, text: str, position: int | None) -> str:
    return "" if position is None else f"not {LANGUAGES[language]} at {text[position:][:30]!r} of {text}"


def install(root: Path) -> None:
    """Install the packages below the checkout ``root``, where ``queries`` looks for them.

    Raises:
        subprocess.CalledProcessError: npm failed.
    """
    options = ("--silent", "--no-save", "--no-package-lock", "--no-audit", "--no-fund")
    subprocess.run(["npm", "install", *options, "--prefix", str(root / INSTALLED), *PACKAGES], check=True)


if __name__ == "__main__":
    terminal.run(lambda: install(Path(__file__).parents[2]))
