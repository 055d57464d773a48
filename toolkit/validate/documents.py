"""Generated tables of the documents: ``python -m toolkit.validate.documents`` writes them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePath

from toolkit.checkout.reachability import HOST, OUTSIDE, WORLD, Connection, Matrix
from toolkit.core import terminal
from toolkit.engine.damage import DAMAGES, Damage
from toolkit.policy import exemptions
from toolkit.policy.exemptions import Exemption
from toolkit.policy.rule import Rule, Scope, Service, violations
from toolkit.policy.rules import RULES
from toolkit.validate import corpus, coverage, inhibition, runbooks
from toolkit.validate.checkout import Checkout, is_job
from toolkit.validate.findings import Finding
from toolkit.validate.grafana import dashboard_files

PART = re.compile(r"(<!-- made: (?P<name>[\w-]+) -->\n)(?P<text>.*?)(<!-- /made -->)", re.DOTALL)
ALLOWED, UNUSED, NEITHER = "●", "○", "-"
MIB = 1024 * 1024
INDEX_COLUMNS = ("alert", "severity", "for", "meaning")
OTHER_COMPONENTS = "others"


def tables(checkout: Checkout) -> Iterator[Finding]:
    """Every generated table is up to date."""
    for document, maker in DOCUMENTS.items():
        text = (checkout.root / document).read_text(encoding="utf-8")
        for part in PART.finditer(text):
            stale = part["text"] != maker(checkout, part["name"])
            problem = (
                f"the table {part['name']} is out of date: run python -m toolkit.validate.documents" if stale else ""
            )
            yield Finding(document, text.count("\n", 0, part.start()) + 1, problem)


def make(checkout: Checkout) -> None:
    """Write the tables of every document."""
    for document, maker in DOCUMENTS.items():
        path = checkout.root / document
        made = generate(path.read_text(encoding="utf-8"), partial(maker, checkout))
        path.write_text(made, encoding="utf-8")


def generate(text: str, maker: Callable[[str], str]) -> str:
    """The text of a document with its tables replaced by those that a function returns by name."""
    return PART.sub(lambda part: part[1] + maker(part["name"]) + part[4], text)


def security(checkout: Checkout, name: str) -> str:
    """One table of docs/security.md."""
    return SECURITY[name](checkout)


def alert_index(checkout: Checkout, name: str) -> str:
    """The table of docs/alerts/README.md for one rule file, or a section for all rule files without their own table."""
    if name != OTHER_COMPONENTS:
        return table(INDEX_COLUMNS, runbooks.index(checkout, name))
    text = (checkout.root / runbooks.INDEX).read_text(encoding="utf-8")
    own = {part["name"] for part in PART.finditer(text)}
    rows = [row for file in runbooks.rule_files(checkout) if file not in own for row in runbooks.index(checkout, file)]
    return f"\n## Other components\n\n{table(INDEX_COLUMNS, rows)}" if rows else ""


def alerting(checkout: Checkout, name: str) -> str:
    """One table of docs/alerting.md: which alert mutes which, the tests of each; or the alerts that none mutes."""
    if name == "inhibitions":
        return table(("while this alert fires", "these are muted", "of the same", "because"), inhibition.rows(checkout))
    if name == "tested":
        return table(coverage.COLUMNS, coverage.table(checkout))
    return textwrap.fill(", ".join(inhibition.never_muted(checkout)) + ".", 120) + "\n"


def dashboards(checkout: Checkout, _name: str) -> str:
    """The table of docs/dashboards.md: every dashboard with its folder in Grafana and its description."""
    found = dashboard_files(checkout)
    return table(
        ("dashboard", "folder", "description"),
        ((each.model["title"], PurePath(file).parent.name, each.model["description"]) for file, each in found.items()),
    )


def probes(checkout: Checkout, name: str) -> str:
    """A table of docs/probes.md: how often the probe agrees with other clients; or where it does not."""
    if name == "groups":
        return table(corpus.GROUPS, corpus.groups(checkout.root))
    return table(corpus.DIFFERENCES, corpus.differences(checkout.root))


def broken_data(_checkout: Checkout, _name: str) -> str:
    """The table of docs/troubleshooting.md: every known damage of data with its log lines, its repair and its loss."""
    return table(("service", "damage", "log line", "cause", "repair", "loss"), map(_damage_row, DAMAGES))


def _damage_row(each: Damage) -> Sequence[str]:
    lines = ", ".join(f"`{line}`" for line in each.lines) + (f" ([seen here]({each.source}))" if each.source else "")
    if each.repair:
        fix, loss = each.repair.title.replace("|", "\\|"), each.repair.loses.removeprefix("loses ")
    else:
        fix, loss = re.sub(r"docs/(\S+?)(#[\w-]+)", r"[\1](\1\2)", f"none: {each.otherwise}"), NEITHER
    return each.service, f"`{each.name}`", lines, each.cause, fix, loss


def controls(checkout: Checkout) -> str:
    """Every rule with its control of the CIS benchmark."""
    exempt = exemptions.load(checkout.root)
    return table(
        ("CIS", "rule", "requirement", "scope", "exceptions"),
        (
            (rule.control, f"`{rule.name}`", rule.demands, rule.scope.value, _names(rule, exempt))
            for rule in RULES
        ),
    )  # fmt: skip


def services(checkout: Checkout) -> str:
    """Every service of production by rule: its value, its exceptions, or whether it follows the rule."""
    rules = [rule for rule in RULES if rule.scope is not Scope.OPEN]
    exempt = exemptions.load(checkout.root)
    rows = [(service.name, *(_cell(rule, service, exempt) for rule in rules)) for service in hardened(checkout)]
    return table(("service", *(f"`{rule.name}`" for rule in rules)), rows)


def exceptions(checkout: Checkout) -> str:
    """The exceptions with their numbers and reasons."""
    entries = exemptions.load(checkout.root)
    return table(
        ("", "service", "rule", "reason"),
        (
            (f"E{number}", entry.service, f"`{entry.rule}`" + (f": `{entry.of}`" if entry.of else ""), entry.reason)
            for number, entry in enumerate(entries, 1)
        ),
    )


def connections(checkout: Checkout) -> str:
    """Every allowed connection with its purpose."""
    return table(
        ("to", "from", "purpose"),
        (
            (f"{entry.to} {entry.port.removesuffix('/tcp')}".strip(), ", ".join(entry.sources) or "nobody",
             entry.because.strip())
            for entry in Matrix.load(checkout.root).entries
        ),
    )  # fmt: skip


def matrix(checkout: Checkout) -> str:
    """Every pair of services: allowed on some port, open but unused, or closed."""
    found = Matrix.load(checkout.root)
    names = list(dict.fromkeys(entry.to for entry in found.entries if entry.to not in OUTSIDE))
    names += [*sorted({each.source for each in found.allowed} - {*names, *OUTSIDE}), HOST, WORLD]
    columns = [name for name in names if name in OUTSIDE or found.ports(name)]
    allowed, unused = (_pairs(each) for each in (found.allowed, found.unused))

    def mark(source: str, to: str) -> str:
        if source == to:
            return NEITHER
        return ALLOWED if (source, to) in allowed else UNUSED if (source, to) in unused else ""

    rows = [(f"{number} {source}", *(mark(source, to) for to in columns)) for number, source in enumerate(names, 1)]
    return table(("from \\ to", *(str(names.index(name) + 1) for name in columns)), rows)


def hardened(checkout: Checkout) -> list[Service]:
    """Every service of production with either image set."""
    tools = checkout.project.data["tools"]
    found: dict[str, Service] = {}
    for each in filter(checkout.is_hardened, checkout.full_configurations):
        for name, config in each.services.items():
            found.setdefault(name, Service(name, config, checkout.root, is_job(each, name, tools)))
    return list(found.values())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _names(rule: Rule, exempt: Iterable[Exemption]) -> str:
    return ", ".join(dict.fromkeys(entry.service for entry in exempt if entry.rule == rule.name))


def _cell(rule: Rule, service: Service, exempt: Sequence[Exemption]) -> str:
    if service.job and rule.name in {"restart", "health"}:
        return NEITHER
    entries = [entry for entry in exempt if (entry.service, entry.rule) == (service.name, rule.name)]
    numbers = " ".join(f"E{exempt.index(entry) + 1}" for entry in entries)
    if not numbers and list(violations([rule], service, hardened=True)):
        return "✗"
    if value := VALUES.get(rule.name):
        return f"{value(service)} {numbers}".strip()
    return numbers or "✓"


def _pairs(connections: Iterable[Connection]) -> set[tuple[str, str]]:
    return {(each.source, each.to) for each in connections}


VALUES: Mapping[str, Callable[[Service], str]] = {
    "user": lambda service: str(service.config["user"]),
    "memory-limit": lambda service: f"{int(service.limits['memory']) // MIB} MiB",
    "cpu-limit": lambda service: str(service.limits["cpus"]),
    "pids-limit": lambda service: str(service.limits["pids"]),
}
SECURITY: Mapping[str, Callable[[Checkout], str]] = {
    "controls": controls,
    "services": services,
    "exceptions": exceptions,
    "connections": connections,
    "matrix": matrix,
}
Maker = Callable[[Checkout, str], str]
"""Returns a table by its name, as Markdown."""
DOCUMENTS: Mapping[str, Maker] = {
    "docs/security.md": security,
    "docs/alerting.md": alerting,
    "docs/dashboards.md": dashboards,
    "docs/probes.md": probes,
    "docs/troubleshooting.md": broken_data,
    runbooks.INDEX: alert_index,
}

if __name__ == "__main__":
    terminal.run(lambda: make(Checkout(Path(__file__).parents[2])))
