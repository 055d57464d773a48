"""Checks of the addresses in the configuration of monitoring: each is a port that its client may reach."""

from __future__ import annotations

import re
from collections.abc import Iterator

from toolkit.checkout.reachability import FILE, Connection
from toolkit.validate import scrapes
from toolkit.validate.checkout import Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.reachability import load

ALERTMANAGER, PROMETHEUS = "alertmanager", "prometheus"
CLIENTS = {
    "monitoring/alertmanager/alertmanager.yml": ALERTMANAGER,
    "monitoring/backup/scrape": PROMETHEUS,
    "monitoring/grafana/groups/": "grafana",
    "monitoring/grafana/provisioning/": "grafana",
    "monitoring/jaeger/scrape": PROMETHEUS,
    "monitoring/loki/loki.yml": "loki",
    "monitoring/otel-collector/": "otel-collector",
    "monitoring/prometheus/prometheus.yml": PROMETHEUS,
    "monitoring/prometheus/scrape/": PROMETHEUS,
    "monitoring/proxy/scrape": PROMETHEUS,
    "monitoring/tempo/tempo.yml": "tempo",
}
"""The services that connect to the addresses in these files."""
ADDRESS = re.compile(r"(?P<scheme>https?://)?(?P<host>[a-z][\w-]*):(?P<port>\d+)(?:/\S*)?")


def allowed(checkout: Checkout) -> Iterator[Finding]:
    """Every address of a service is one of the connections in reachability.yml, the port included."""
    found = load(checkout)
    known = {entry.to for entry in found.entries}

    def problem(client: str, host: str, port: str | int) -> str:
        fine = client == host or Connection(client, host, f"{port}/tcp") in found.allowed
        return "" if fine else f"{client} connects to {host}:{port}, which {FILE} does not allow"

    for file, client in sorted(
        (file, client)
        for start, client in CLIENTS.items()
        for file in checkout.tracked
        if file.startswith(start) and file.endswith(".yml")
    ):
        source = checkout.source(file)
        for scalar in source.scalars():
            address = ADDRESS.fullmatch(scalar.value)
            if address and address["host"] in known:
                # Prometheus has the blackbox exporter request a URL.
                by = scrapes.PROBER if client == PROMETHEUS and address["scheme"] else client
                yield source.at(scalar, problem(by, address["host"], address["port"]))
    for job in scrapes.jobs(checkout):
        for number, config in enumerate(job.data.get("dns_sd_configs", ())):
            for name in config["names"]:
                yield job.at("dns_sd_configs", number, "port", problem=problem(PROMETHEUS, name, config["port"]))
