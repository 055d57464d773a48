"""Checks of Prometheus' scrape jobs: targets, included files, coverage of services, intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
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
# Mount points of Prometheus' folders in its container.
MOUNTED = {
    "monitoring/prometheus": "/etc/prometheus",
    "monitoring/jaeger": "/etc/prometheus-jaeger",
    "monitoring/backup": "/etc/prometheus-backup",
    "monitoring/proxy": "/etc/prometheus-proxy",
    "monitoring/victorialogs": "/etc/prometheus-victorialogs",
}
PULLED = "pulled"
"""The folder of files of services that only the pulled images have."""
PROBER = "blackbox-exporter"
MAX_SCRAPE_SECONDS = 5.0
"""Longest allowed scrape interval: an alert that a service is down needs two scrapes."""


class Job(NamedTuple):
    """A scrape job with its file and its index."""

    source: Source
    number: int
    data: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The job's name."""
        return str(self.data["job_name"])

    @property
    def labelled_services(self) -> set[str]:
        """The services named by the labels of its targets."""
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
    """Every target of scrapes, probes and alerts is a service that shares a network with its scraper.

    Configurations that do not mount the folder of a file are ignored.
    """
    for source in map(checkout.source, (PROMETHEUS, *_files(checkout, "scrape"))):
        mounting = [each for each in checkout.full_configurations if _is_mounted(each, source.file)]
        for node in _addresses(source):
            probed = "://" in node.value
            scraper = PROBER if probed else "prometheus"
            host = urlsplit(node.value if probed else f"//{node.value}").hostname
            for each in mounting:
                service = each.services.get(host or "")
                problem = "" if service or host == "localhost" else f"{host} is not a service of the stack"
                if service and not set(each.services[scraper]["networks"]) & set(service["networks"]):
                    problem = f"{scraper} shares no network with {host}"
                yield source.at(node, problem)


def relabelled(checkout: Checkout) -> Iterator[Finding]:
    """Every address that relabelling sets is that of a service, by a name on a network that Prometheus shares."""
    for job in jobs(checkout):
        for number, relabel in enumerate(job.data.get("relabel_configs", ())):
            problem = ""
            if relabel.get("target_label") == "__address__" and "replacement" in relabel:
                host = str(urlsplit(f"//{relabel['replacement']}").hostname)
                mounting = [each for each in checkout.full_configurations if _is_mounted(each, job.source.file)]
                unknown = any(host not in _reached_names(each) for each in mounting)
                problem = f"prometheus knows no service by the name {host}" if unknown else ""
            yield job.at("relabel_configs", number, "replacement", problem=problem)


def _reached_names(each: Configuration) -> set[str]:
    """The names of services, and their aliases, on the networks of Prometheus."""
    return {
        name
        for network in each.services["prometheus"]["networks"]
        for service, config in each.services.items()
        if network in config.get("networks", {})
        for name in (service, *((config["networks"][network] or {}).get("aliases") or ()))
    }


def included_files(checkout: Checkout) -> Iterator[Finding]:
    """Prometheus loads every file of rules and scrape jobs."""
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
    """Every long-running service is scraped or listed with a reason; every job is named after its service."""
    found, expected = jobs(checkout), checkout.source(str(FILE))
    scraped = {job.name for job in found} | {service for job in found for service in job.labelled_services}
    running = {
        name: each
        for each in checkout.full_configurations
        for name in each.services
        if not is_job(each, name, checkout.project.data["tools"])
    }
    exceptions: Mapping[str, str] = expected.data["services"]
    for name, each in running.items():
        problem = "" if name in scraped or name in exceptions else f"no job scrapes {name}"
        yield checkout.place(each.files, "services", name, problem=problem)
    for name, reason in exceptions.items():
        problem = "" if reason else f"the reason for {name} is missing"
        if name not in running:
            problem = f"unknown service {name}"
        elif name in scraped:
            problem = f"{name} is scraped"
        yield expected.finding("services", name, problem=problem)
    for job in found:
        fine = job.name in running or job.labelled_services
        yield job.at(
            "job_name", problem="" if fine else f"{job.name} is not a service, and no target has a label service"
        )


def separate_files(checkout: Checkout) -> Iterator[Finding]:
    """Jobs and rules of services without a local image, and no others, are in files of their own in `PULLED`."""
    unavailable = {name for each in checkout.full_configurations for name in _unavailable_services(checkout, each)}
    for job in jobs(checkout):
        about = {job.name} | job.labelled_services
        yield job.at("job_name", problem=_misplaced(job.name, job.source.file, about, unavailable))
    for source in map(checkout.source, _files(checkout, "rules")):
        for g, group in enumerate(source.data["groups"]):
            for r, rule in enumerate(group["rules"]):
                labels = {rule.get("labels", {}).get("service")}
                problem = _misplaced(rule.get("alert"), source.file, labels, unavailable)
                yield source.finding("groups", g, "rules", r, "labels", "service", problem=problem)


def _misplaced(what: object, file: str, services: Set[str], unavailable: Set[str]) -> str:
    path = PurePath(file)
    separate = path.parent.name == PULLED
    if separate and path.stem not in unavailable:
        return f"{what} is hidden with the local images, which have {path.stem}"
    about = sorted(services & unavailable)
    misplaced = about and not (separate and path.stem in about)
    return f"{what} belongs in {PULLED}/{about[0]}.yml" if misplaced else ""


def replacements(checkout: Checkout) -> Iterator[Finding]:
    """Empty folders replace the scrape jobs and the rules of services without a local image."""
    for each in checkout.full_configurations:
        for kind in ("scrape", "rules") if _unavailable_services(checkout, each) else ():
            target = f"{MOUNTED['monitoring/prometheus']}/{kind}/{PULLED}"
            needed = "prometheus" in each.services and not _has_mount(each, target)
            problem = f"no empty folder replaces {kind}/{PULLED}, but services have no local image" if needed else ""
            yield checkout.mount(each.files, "prometheus", target, problem)


def intervals(checkout: Checkout) -> Iterator[Finding]:
    """No scrape interval is so long that an alert would be late."""
    source = checkout.source(PROMETHEUS)
    default = source.data["global"]["scrape_interval"]
    yield source.finding("global", "scrape_interval", problem=_interval_problem(default))
    for job in jobs(checkout):
        yield job.at("scrape_interval", problem=_interval_problem(job.data.get("scrape_interval", default)))


def _interval_problem(interval: str) -> str:
    return (
        ""
        if seconds(interval) <= MAX_SCRAPE_SECONDS
        else f"the scrape interval {interval} is too long: {MAX_SCRAPE_SECONDS:g}s at most"
    )


def _files(checkout: Checkout, kind: str) -> list[str]:
    """The tracked files of ``rules`` or ``scrape`` jobs, including those of groups and profiles."""
    folders = tuple(f"{folder}/{kind}" for folder in MOUNTED)
    return sorted(file for file in checkout.tracked if file.startswith(folders) and file.endswith(".yml"))


def _is_mounted(each: Configuration, file: str) -> bool:
    """Whether Prometheus mounts the folder of a file."""
    [target] = (to for at, to in MOUNTED.items() if file.startswith(f"{at}/"))
    return _has_mount(each, target)


def _has_mount(each: Configuration, target: str) -> bool:
    volumes = each.services.get("prometheus", {}).get("volumes", ())
    return any(volume["target"] == target for volume in volumes)


def _unavailable_services(checkout: Checkout, each: Configuration) -> list[str]:
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
