"""Checks of runbooks: standard sections, existing dashboards, and the index."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath

from toolkit.validate import alerts
from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.grafana import dashboard_files

FOLDER = "docs/alerts/"
INDEX = f"{FOLDER}README.md"
SECTIONS = ("Meaning", "Impact", "Diagnosis", "Likely causes", "Mitigation")
"""The headings of a runbook, in this order."""
DASHBOARDS = re.compile(r"^Dashboard: (.*(?:\n.+)*)", re.MULTILINE)
TITLE = re.compile(r"\*([^*]+)\*")
UID = re.compile(r"/d/([\w-]+)")
FIRST_SENTENCE = re.compile(r"^## Meaning\n\n(.+?)\.?(?:\.\s|\n\n)", re.MULTILINE | re.DOTALL)


def shape(checkout: Checkout) -> Iterator[Finding]:
    """Every alert has a runbook with the standard sections, listed in the index; every runbook belongs to an alert."""
    index = _text(checkout, INDEX)
    names = {alert.name: alert for alert in _alerts(checkout)}
    for name, alert in names.items():
        file = f"{FOLDER}{name}.md"
        if file not in checkout.tracked:
            reason = "is not tracked by git: run git add" if (checkout.root / file).is_file() else "does not exist"
            yield alert.at("annotations", "runbook_url", problem=f"{file} {reason}")
            continue
        text = _text(checkout, file)
        found = re.findall(r"^## (.+)$", text, re.MULTILINE)
        missing = [section for section in SECTIONS if section not in found]
        problem = f"the section {missing[0]} is missing" if missing else ""
        if not missing and tuple(found) != SECTIONS:
            problem = f"the sections are not {', '.join(SECTIONS)}, in this order"
        yield Finding(file, 1, problem)
        yield Finding(file, 1, "" if text.startswith(f"# {name}\n") else f"the title is not {name}")
        yield Finding(INDEX, 1, "" if f"({name}.md)" in index else f"{name} is missing from this index")
    for file in sorted(checkout.tracked):
        if file.startswith(FOLDER) and file.endswith(".md") and file != INDEX:
            yield Finding(file, 1, "" if PurePath(file).stem in names else "no alert has this name")


def dashboards(checkout: Checkout) -> Iterator[Finding]:
    """Every dashboard that a runbook names (a title in italics) exists; the one that its alert links to is named."""
    titles = {str(each.model.get("uid")): str(each.model.get("title")) for each in dashboard_files(checkout).values()}
    for name, linked in _linked(checkout).items():
        file = f"{FOLDER}{name}.md"
        text = _text(checkout, file)
        line = DASHBOARDS.search(text)
        if not line:
            yield Finding(file, 1, "no line begins with “Dashboard:”" if text else "")
            continue
        named = TITLE.findall(line[1])
        unknown = [title for title in named if title not in titles.values()]
        missing = [titles[uid] for uid in linked if uid in titles and titles[uid] not in named]
        problem = f"unknown dashboard {unknown[0]}" if unknown else ""
        if missing and not unknown:
            problem = f"the alert links to the dashboard {missing[0]}, which is missing here"
        yield Finding(file, text.count("\n", 0, line.start()) + 1, problem)


def index(checkout: Checkout, rule_file: str) -> list[tuple[str, str, str, str]]:
    """The rows of the index for one rule file (``redis`` for ``rules/redis.yml``): link, severity, for, meaning.

    An alert with several rules has one row, with the severities and pending periods of all of them. The meaning is the
    first sentence of the runbook.
    """
    rows: dict[str, list[alerts.Rule]] = {}
    for alert in _alerts(checkout):
        if _stem(alert.source.file) == rule_file:
            rows.setdefault(alert.name, []).append(alert)
    return [
        (
            f"[{name}]({name}.md)",
            ", ".join(dict.fromkeys(_severity(rule) for rule in rules)),
            ", ".join(dict.fromkeys(str(rule.data.get("for", "-")) for rule in rules)),
            _meaning(_text(checkout, f"{FOLDER}{name}.md")),
        )
        for name, rules in rows.items()
    ]


def rule_files(checkout: Checkout) -> list[str]:
    """The rule files with an alert, as `index` names them."""
    return list(dict.fromkeys(_stem(alert.source.file) for alert in _alerts(checkout)))


def _alerts(checkout: Checkout) -> list[alerts.Rule]:
    return alerts.alerts(checkout, alerts.RULES + alerts.LOG_RULES)


def _linked(checkout: Checkout) -> dict[str, set[str]]:
    """The uids of the dashboards that each alert links to, by the alert's name."""
    linked: dict[str, set[str]] = {}
    for alert in _alerts(checkout):
        url = str(alert.data.get("annotations", {}).get("dashboard_url", ""))
        linked.setdefault(alert.name, set()).update(UID.findall(url))
    return linked


def _severity(rule: alerts.Rule) -> str:
    severity = str(rule.data.get("labels", {}).get("severity", "-"))
    return "of the target" if "{{" in severity else severity


def _stem(file: str) -> str:
    """The name of a rule file in the index: its stem, or the folder of a file named ``rules.yml``."""
    path = PurePath(file)
    return path.parent.name if path.stem == "rules" else path.stem


def _meaning(text: str) -> str:
    found = FIRST_SENTENCE.search(text)
    return " ".join(found[1].split()) if found else "-"


def _text(checkout: Checkout, file: str) -> str:
    path = checkout.root / file
    return path.read_text(encoding="utf-8") if path.is_file() else ""
