"""What Prometheus watches: every service, at addresses of the stack, by files that it loads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import PurePath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from yaml.nodes import Node

from toolkit.checkout.expectations import FILE
from toolkit.core.durations import seconds
from toolkit.validate.checkout import Checkout, Configuration, is_job
from toolkit.validate.findings import Finding
from toolkit.validate.source import Source, elements, items

PROMETHEUS = "monitoring/prometheus/prometheus.yml"
# Where the container has the folders that Prometheus reads.
MOUNTED = {
    "monitoring/prometheus": "/etc/prometheus",
    "monitoring/jaeger": "/etc/prometheus-jaeger",
    "monitoring/proxy": "/etc/prometheus-proxy",
}
PROBER = "blackbox-exporter"
SCRAPE = 5.0
"""Seconds between two scrapes at most: an alert that a service is down takes one to notice and one to be sure."""


class Job(NamedTuple):
    """A scrape job with its file and its number there."""

    source: Source
    number: int
    data: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What it is called."""
        return str(self.data["job_name"])

    @property
    def labelled(self) -> set[str]:
        """The services that its targets are said to be of."""
        labels = [config.get("labels", {}) for config in self.data.get("static_configs", [])]
        return {each["service"] for each in labels if "service" in each}

    def at(self, *keys: str | int, problem: str = "") -> Finding:
        """A finding at the job."""
        return self.source.finding("scrape_configs", self.number, *keys, problem=problem)


def jobs(checkout: Checkout) -> list[Job]:
    """Every scrape job of every file."""
    return [
        Job(source, number, job)
        for source in map(checkout.source, _files(checkout, "scrape"))
        for number, job in enumerate((source.data or {}).get("scrape_configs") or [])
    ]


def targets(checkout: Checkout) -> Iterator[Finding]:
    """Whatever is scraped, probed or told of alerts is a service on a network of the one that asks.

    Where the folder of a file is not mounted, nothing is asked.
    """
    for source in map(checkout.source, (PROMETHEUS, *_files(checkout, "scrape"))):
        asking_in = [each for each in checkout.whole if _mounted(each, source.file)]
        for node in _addresses(source):
            probed = "://" in node.value
            asking = PROBER if probed else "prometheus"
            host = urlsplit(node.value if probed else f"//{node.value}").hostname
            for each in asking_in:
                service = each.services.get(host or "")
                problem = "" if service or host == "localhost" else f"{host} is no service of the stack"
                if service and not set(each.services[asking]["networks"]) & set(service["networks"]):
                    problem = f"{asking} is on no network of {host}"
                yield source.at(node, problem)


def loaded(checkout: Checkout) -> Iterator[Finding]:
    """Every file of rules and scrape jobs is one that Prometheus loads."""
    data = checkout.source(PROMETHEUS).data
    for kind, key in (("rules", "rule_files"), ("scrape", "scrape_config_files")):
        patterns = [str(PurePath(MOUNTED["monitoring/prometheus"]) / pattern) for pattern in data.get(key, [])]
        for file in _files(checkout, kind):
            inside = next(
                PurePath(to) / PurePath(file).relative_to(at) for at, to in MOUNTED.items() if file.startswith(at)
            )
            known = any(inside.match(pattern) for pattern in patterns)
            yield Finding(file, 1, "" if known else f"no {key} of {PROMETHEUS} loads this file")


def services(checkout: Checkout) -> Iterator[Finding]:
    """Every service that runs is scraped, or listed with the reason why not; a job is named after its service."""
    found, expected = jobs(checkout), checkout.source(str(FILE))
    watched = {job.name for job in found} | {service for job in found for service in job.labelled}
    running = {
        name: each
        for each in checkout.whole
        for name in each.services
        if not is_job(each, name, checkout.project.data["tools"])
    }
    excused: Mapping[str, str] = expected.data["services"]
    for name, each in running.items():
        problem = "" if name in watched or name in excused else f"no job scrapes {name}"
        yield checkout.place(each.files, "services", name, problem=problem)
    for name, reason in excused.items():
        problem = "" if reason else f"there is no reason for {name}"
        if name not in running:
            problem = f"{name} is no service"
        elif name in watched:
            problem = f"{name} is scraped"
        yield expected.finding("services", name, problem=problem)
    for job in found:
        fine = job.name in running or job.labelled
        yield job.at("job_name", problem="" if fine else f"{job.name} is no service, and no target says of which it is")


def apart(checkout: Checkout) -> Iterator[Finding]:
    """What the local images lack is watched by files of its own name, which can be left out as a whole."""
    lacking = {name for each in checkout.whole for name in _lacking(checkout, each)}
    for job in jobs(checkout):
        about = ({job.name} | job.labelled) & lacking
        strayed = about and PurePath(job.source.file).stem not in about
        yield job.at("job_name", problem=f"{job.name} belongs into {about.pop()}.yml" if strayed else "")
    for source in map(checkout.source, _files(checkout, "rules")):
        for g, group in enumerate(source.data["groups"]):
            for r, rule in enumerate(group["rules"]):
                service = rule.get("labels", {}).get("service")
                strayed = service in lacking and PurePath(source.file).stem != service
                problem = f"{rule.get('alert')} belongs into {service}.yml" if strayed else ""
                yield source.finding("groups", g, "rules", r, "labels", "service", problem=problem)


def replaced(checkout: Checkout) -> Iterator[Finding]:
    """Where the images lack a service, empty files replace its scrape job and its rules."""
    for each in checkout.whole:
        for name, kind in product(_lacking(checkout, each), ("scrape", "rules")):
            file = f"monitoring/prometheus/{kind}/{name}.yml"
            target = f"{MOUNTED['monitoring/prometheus']}/{kind}/{name}.yml"
            needed = file in checkout.tracked and not _has_mount(each, target)
            problem = f"nothing replaces {file}, though the images lack {name}" if needed else ""
            yield checkout.mount(each.files, "prometheus", target, problem)


def intervals(checkout: Checkout) -> Iterator[Finding]:
    """No job is scraped so rarely that an alert would come too late."""
    source = checkout.source(PROMETHEUS)
    usual = source.data["global"]["scrape_interval"]
    yield source.finding("global", "scrape_interval", problem=_rare(usual))
    for job in jobs(checkout):
        yield job.at("scrape_interval", problem=_rare(job.data.get("scrape_interval", usual)))


def _rare(interval: str) -> str:
    return "" if seconds(interval) <= SCRAPE else f"a scrape every {interval} is too rare: {SCRAPE:g}s at most"


def _files(checkout: Checkout, kind: str) -> list[str]:
    """The tracked files of ``rules`` or ``scrape`` jobs, those of groups and profiles among them."""
    folders = tuple(f"{folder}/{kind}" for folder in MOUNTED)
    return sorted(file for file in checkout.tracked if file.startswith(folders) and file.endswith(".yml"))


def _mounted(each: Configuration, file: str) -> bool:
    """Whether Prometheus has the folder of a file."""
    [target] = (to for at, to in MOUNTED.items() if file.startswith(f"{at}/"))
    return _has_mount(each, target)


def _has_mount(each: Configuration, target: str) -> bool:
    volumes = each.services.get("prometheus", {}).get("volumes", ())
    return any(volume["target"] == target for volume in volumes)


def _lacking(checkout: Checkout, each: Configuration) -> list[str]:
    """The services that the images of a configuration lack."""
    absent = checkout.project.data["absent"]
    return [name for name, service in each.services.items() if service.get("profiles") == [absent]]


def _addresses(source: Source) -> Iterator[Node]:
    """Every address among the targets of static_configs and the names of dns_sd_configs."""
    nodes = [*elements(source.node_at("alerting", "alertmanagers")), *elements(source.node_at("scrape_configs"))]
    for node in nodes:
        for section, found in items(node):
            key = {"static_configs": "targets", "dns_sd_configs": "names"}.get(section.value)
            for config in elements(found) if key else ():
                yield from next((elements(values) for name, values in items(config) if name.value == key), [])
