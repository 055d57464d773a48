"""What the programs' own validators cannot see: that the addresses in a configuration are those of the stack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from yaml.nodes import Node

from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.source import Source, items

PROMETHEUS = "monitoring/prometheus/prometheus.yml"


def targets(checkout: Checkout) -> Iterator[Finding]:
    """Whatever Prometheus scrapes or notifies is a service of the stack on a network that Prometheus is on."""
    source = checkout.source(PROMETHEUS)
    for each in checkout.whole:
        ours = set(each.services["prometheus"]["networks"])
        for node in _hosts(source):
            host = node.value.rsplit(":", 1)[0]
            service = each.services.get(host)
            problem = ""
            if service is None and host != "localhost":
                problem = f"{host} is no service of the stack"
            elif service is not None and not ours & set(service["networks"]):
                problem = f"prometheus is on no network of {host}"
            yield source.at(node, problem)


def rules(checkout: Checkout) -> Iterator[Finding]:
    """Every rule file is one that Prometheus loads, and every alert says how bad it is and what has happened."""
    folder = PurePath(PROMETHEUS).parent
    patterns = [str(folder / pattern) for pattern in checkout.source(PROMETHEUS).data.get("rule_files", [])]
    for file in sorted(checkout.tracked):
        if PurePath(file).parent != folder / "rules":
            continue
        source = checkout.source(file)
        loaded = any(PurePath(file).match(pattern) for pattern in patterns)
        yield Finding(file, 1, "" if loaded else f"no rule_files of {PROMETHEUS} loads this file")
        for g, group in enumerate(source.data["groups"]):
            for r, rule in enumerate(group["rules"]):
                for section, key in (("labels", "severity"), ("annotations", "summary")):
                    missing = "alert" in rule and not rule.get(section, {}).get(key)
                    problem = f"the alert {rule.get('alert')} has no {key}" if missing else ""
                    yield source.finding("groups", g, "rules", r, section, key, problem=problem)


def _hosts(source: Source) -> Iterator[Node]:
    """Every address among the targets of static_configs and the names of dns_sd_configs."""
    alertmanagers = source.node_at("alerting", "alertmanagers")
    jobs = source.node_at("scrape_configs")
    for job in [*(alertmanagers.value if alertmanagers else []), *(jobs.value if jobs else [])]:
        for section, found in items(job):
            for key in {"static_configs": "targets", "dns_sd_configs": "names"}.get(section.value, "").split():
                for config in found.value:
                    yield from next((values.value for name, values in items(config) if name.value == key), [])
