"""Production readiness of a checkout: the doctor's findings, and checks for production only."""

from __future__ import annotations

import ctypes
import ipaddress
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from toolkit.checkout import credentials, setup
from toolkit.checkout.project import LOCAL, Project
from toolkit.checks import growth
from toolkit.checks.doctor import CHECKS as DOCTOR_CHECKS
from toolkit.checks.doctor import Subject, examine
from toolkit.checks.doctor.backups import backups, restorable
from toolkit.core.console import say
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding, Outcome, Report
from toolkit.engine.compose import Docker

PRODUCTION = "prod"

BLOCKERS = frozenset({"memory", "permissions", "limits"})
"""Checks of the doctor whose warnings are blockers in production."""

COMMON_WORDS = (
    "password", "passwort", "secret", "changeme", "change-me", "admin", "guest", "netmon", "monitor", "network",
    "postgres", "redis", "rabbitmq", "rabbit", "kafka", "grafana", "qwerty", "letmein", "default", "example", "abcdef",
)  # fmt: skip
LOOKALIKES = str.maketrans("0134@5$", "oleaass")
MIN_OTHER_LETTERS = 8
"""Minimum number of letters besides common words."""
MIN_DISTINCT_CHARACTERS = 10
"""Minimum number of different characters; one random value in a million has fewer."""

CHANNEL_FILES: Mapping[str, Sequence[str]] = {
    "webhook": ["webhook_url"],
    "email": ["smtp_password"],
    "slack": ["slack_api_url"],
    "pagerduty": ["pagerduty_routing_key"],
    "opsgenie": ["opsgenie_api_key"],
    "msteams": ["msteams_webhook_url"],
    "discord": ["discord_webhook_url"],
    "telegram": ["telegram_bot_token", "telegram_chat_id"],
    "webex": ["webex_token"],
    "sns": ["aws_credentials"],
    "pushover": ["pushover_user_key", "pushover_token"],
    "jira": ["jira_user", "jira_token"],
    "deadmansswitch": ["deadmansswitch_url"],
}
"""The files of each channel in secrets/alertmanager."""

LINKS = {
    "APP_URL": "the public address of the status page, or DOMAIN",
    "GRAFANA_URL": "the public address of Grafana, or DOMAIN",
    "RUNBOOKS_URL": "the address of docs/alerts in the web interface of your repository",
}
"""The base addresses of the links in notifications, and the requirement on each."""
ACCESS = "config/caddy/access"
"""The folder of the proxy's access rules, which belong to this host."""
SOURCES = ("PROMETHEUS_URL", "ALERTMANAGER_URL")
"""The addresses of source links, which only the JSON of webhooks contains."""

USABLE = 0.85
"""The share of the disk that data may take: below the one at which alerts fire, and the first service stops."""

TIME_ERROR = 5
"""The return value of adjtimex(2) while the kernel's clock is not synchronised."""


def preflight(project: Project, docker: Docker, profile: str) -> Report:
    """Every finding for a profile, whether or not the checkout is set up for it; ``failed`` ones are blockers.

    Raises:
        ToolkitError: the profile is unknown (exit code 2).
    """
    project.layers(profile)
    files = setup.settings(project, profile)["COMPOSE_FILE"]
    subject = Subject(project, docker.using(COMPOSE_FILE=files, NETMON_PROFILE=profile))
    # `restorable` reads the repository as well.
    found = examine(subject, [each for each in DOCTOR_CHECKS if each is not backups])
    rated = [
        replace(each, outcome=Outcome.FAILED) if each.outcome is Outcome.WARNING and each.check in BLOCKERS else each
        for each in found
    ]
    return Report("checks", [*_profile(project, profile), *rated, *examine(subject, CHECKS)])


def announce(project: Project, docker: Docker) -> None:
    """Print the number of blockers and warnings of the production profile; nothing for other profiles."""
    if project.profile != PRODUCTION:
        return
    found = preflight(project, docker, PRODUCTION)
    blockers, warnings = found.count(Outcome.FAILED), found.count(Outcome.WARNING)
    if blockers or warnings:
        say(f"not ready for production: {blockers} blockers, {warnings} warnings (invoke preflight)", "warning")


def _profile(project: Project, profile: str) -> list[Finding]:
    if not setup.uses_secret_files(project, profile):
        what = f"{profile} is for development: it publishes every service, and stores passwords in .env"
        return [Finding("profile", Outcome.FAILED, what, "use the profile prod")]
    if project.profile != profile:
        what = f"this checkout is set up for {project.profile or 'nothing yet'}"
        return [Finding("profile", Outcome.FAILED, what, f"run: invoke setup --profile={profile}")]
    return [Finding("profile", Outcome.OK, profile)]


def passwords(subject: Subject) -> Iterator[Finding]:
    """No password is guessable, and none is used twice."""
    project, seen = subject.project, dict[str, str]()
    problems = []
    for name, secret in project.secrets.items():
        if secret.users:
            continue
        try:
            values = credentials.load_all(project, secret)
        except ToolkitError as error:
            problems.append(Finding.of_error("passwords", error))
            continue
        fix = f"if no volume uses it yet: delete secrets/{name}.txt and run invoke setup; else rotate it"
        for value in values:
            if weak := weakness(value):
                problems.append(Finding("passwords", Outcome.FAILED, f"secrets/{name}.txt {weak}", fix))
            if value in seen:
                what = f"secrets/{name}.txt and secrets/{seen[value]}.txt are the same"
                problems.append(Finding("passwords", Outcome.FAILED, what, fix))
            seen[value] = name
    yield from problems or [Finding("passwords", Outcome.OK, f"{len(seen)}, none guessable")]


def weakness(password: str) -> str:
    """Why a password is guessable; empty if it is not."""
    for text in (password.lower(), password.lower().translate(LOOKALIKES)):
        if len(re.sub(rf"{'|'.join(COMMON_WORDS)}|[^a-z]", "", text)) < MIN_OTHER_LETTERS:
            return "consists of common words and digits"
    return (
        f"has fewer than {MIN_DISTINCT_CHARACTERS} different characters"
        if len(set(password)) < MIN_DISTINCT_CHARACTERS
        else ""
    )


def domain(subject: Subject) -> Iterator[Finding]:
    """The host has a public name for which a certificate can be issued."""
    name = _setting(subject, "DOMAIN") or "localhost"
    fix = "set DOMAIN in .env to a name whose DNS records point to this host"
    if problem := _domain_problem(name):
        yield Finding("domain", Outcome.FAILED, f"DOMAIN is {name}: {problem}", fix)
    else:
        yield Finding("domain", Outcome.OK, name)


def _domain_problem(name: str) -> str:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        pass
    else:
        return "an IP address, but certificates are issued for names"
    if not re.fullmatch(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?", name.lower()):
        return "not a host name (no scheme, no port, no path)"
    if re.search(r"(^|\.)(localhost|local|internal|test|example|invalid|home\.arpa|example\.(com|net|org))$", name):
        return "no browser trusts a certificate for it"
    return "" if "." in name else "not a complete name"


def address(subject: Subject) -> Iterator[Finding]:
    """The proxy is reachable from other hosts."""
    bound = _setting(subject, "PROXY_BIND_ADDRESS") or "127.0.0.1"
    try:
        loopback = ipaddress.ip_address(bound.strip("[]")).is_loopback
    except ValueError:
        yield Finding("address", Outcome.FAILED, f"PROXY_BIND_ADDRESS is {bound}, which is not an IP address",
                      "set PROXY_BIND_ADDRESS=0.0.0.0 in .env")  # fmt: skip
        return
    if loopback:
        what = f"the proxy listens on {bound}: it is reachable from this host only"
        yield Finding(
            "address", Outcome.WARNING, what, "set PROXY_BIND_ADDRESS=0.0.0.0 in .env once everything else is ready"
        )
    else:
        yield Finding("address", Outcome.OK, f"the proxy listens on {bound}")


def readers(subject: Subject) -> Iterator[Finding]:
    """It is decided who may read: a login in front of the proxy, or everyone."""
    files = sorted(path.name for path in (subject.project.root / ACCESS).glob("*.caddy"))
    if files:
        yield Finding("readers", Outcome.OK, f"as {', '.join(files)} of {ACCESS} permits")
    else:
        what = (
            "everyone who can reach the proxy can read all targets and failures, and try passwords at Grafana's login"
        )
        fix = f"set up a login (docs/deployment.md), or create an empty {ACCESS}/public.caddy if the page is public"
        yield Finding("readers", Outcome.WARNING, what, fix)


def receivers(subject: Subject) -> Iterator[Finding]:
    """Alerts reach a person, also while the application is down."""
    on = _enabled_receivers(subject)
    folder = subject.project.secrets_dir / "alertmanager"
    problems = [
        Finding(
            "alert receivers",
            Outcome.FAILED,
            f"{name} is enabled, but secrets/alertmanager/{file} is missing or empty",
            "see secrets/alertmanager/README.md",
        )
        for name in on
        for file in CHANNEL_FILES.get(name, ())
        if not _has_content(folder / file)
    ]
    for name in on:
        if name not in {"app", *CHANNEL_FILES}:
            fix = f"correct ALERT_RECEIVERS in .env: app, {', '.join(CHANNEL_FILES)}"
            problems.append(Finding("alert receivers", Outcome.FAILED, f"there is no channel {name}", fix))
    if "alertmanager" not in subject.configuration["services"]:
        what, fix = "monitoring is disabled: no alerts are delivered", "run: invoke up --with=monitoring"
        problems.append(Finding("alert receivers", Outcome.FAILED, what, fix))
    elif not {*on} & (CHANNEL_FILES.keys() - {"deadmansswitch"}):
        what = f"alerts are delivered {'to the application only' if on else 'nowhere'}: no person is notified"
        fix = "enable a channel: ALERT_RECEIVERS in .env (docs/alerting.md)"
        problems.append(Finding("alert receivers", Outcome.FAILED, what, fix))
    elif "deadmansswitch" not in on:
        what = "an outage of the whole host goes unnoticed: no dead man's switch"
        fix = "add deadmansswitch to ALERT_RECEIVERS in .env (docs/alerting.md)"
        problems.append(Finding("alert receivers", Outcome.WARNING, what, fix))
    yield from problems or [Finding("alert receivers", Outcome.OK, ", ".join(on))]


def _enabled_receivers(subject: Subject) -> list[str]:
    named = _setting(subject, "ALERT_RECEIVERS")
    return [name.strip() for name in ("app" if named is None else named).split(",") if name.strip()]


def links(subject: Subject) -> Iterator[Finding]:
    """The links in notifications are addresses that their readers can open."""
    prometheus = subject.configuration["services"].get("prometheus")
    if prometheus is None:
        return  # receivers() reports it
    settings = prometheus.get("environment") or {}
    problems = [
        Finding("links", Outcome.FAILED, f"{name} is {settings.get(name)}: {problem}", f"set {name} in .env to {what}")
        for name, what in LINKS.items()
        if (problem := _link_problem(settings.get(name) or ""))
    ]
    if "webhook" in _enabled_receivers(subject):
        problems += [
            Finding("links", Outcome.WARNING, f"{name} is {value or 'not set'}: webhooks get source links to this host",
                    f"set {name} in .env to the address at which you open it")
            for name in SOURCES
            if _link_problem(value := _setting(subject, name) or "")
        ]  # fmt: skip
    yield from problems or [Finding("links", Outcome.OK, "absolute")]


def _link_problem(url: str) -> str:
    """Why readers of a notification cannot open an address; empty if they can."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "not an absolute address"
    host = parts.hostname
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "" if "." in host and not host.endswith(".localhost") else "a name on this machine or network only"
    return "an address of this machine" if address.is_loopback or address.is_unspecified else ""


def _has_content(path: Path) -> bool:
    try:
        return bool(path.read_bytes().strip())
    except OSError:
        return False


def data_disk(subject: Subject) -> Iterator[Finding]:
    """The disk has space for the data of the services, at the rate of this host's targets (`toolkit.checks.growth`)."""
    folder = Path(subject.docker.info()["DockerRootDir"])
    if not folder.exists():
        yield Finding("data disk", Outcome.SKIPPED, f"{folder} is not on this machine, so its free space is unknown")
        return
    load = growth.load(subject.docker, subject.configuration)
    shares = growth.shares(subject.project.root, subject.configuration, load)
    size, space = sum(share.size for share in shares), shutil.disk_usage(folder).total
    of = f"{load.targets} targets" if load.known else f"{load.targets} targets every minute, as none are known yet,"
    largest = ", ".join(f"{share.store} {share.size / 1e9:.1f}" for share in shares[:4])
    what = f"the data of {of} takes up to {size / 1e9:.0f} GB ({largest}) of the {space / 1e9:.0f} GB of {folder}"
    if size > USABLE * space:
        fix = "use a larger disk for Docker, or reduce the retention: docs/deployment.md#disk-space"
        yield Finding("data disk", Outcome.WARNING, what, fix)
    else:
        yield Finding("data disk", Outcome.OK, what)


def clock(_subject: Subject) -> Iterator[Finding]:
    """The clock is synchronised: certificates, logs, traces and alerts depend on it."""
    state = clock_state()
    if state is None:
        yield Finding(
            "clock",
            Outcome.WARNING,
            "not checked: the kernel does not report it",
            "make sure that time is synchronised",
        )
    elif state == TIME_ERROR:
        what = "the clock is not synchronised"
        yield Finding("clock", Outcome.WARNING, what, "install chrony, or run: timedatectl set-ntp true")
    else:
        yield Finding("clock", Outcome.OK, "synchronised")


def clock_state() -> int | None:
    """The kernel's clock state, see TIME_ERROR; None if unavailable."""
    try:
        state = int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)))  # larger than its struct timex
    except (AttributeError, OSError):
        return None
    return None if state < 0 else state


def digests(subject: Subject) -> Iterator[Finding]:
    """Images are locked by digest: a tag can be moved, a digest cannot."""
    if subject.project.images == LOCAL:
        what = "the images are built here from packages, with other versions than the published ones"
        fix = "run invoke up --images=pull, if a registry is reachable"
        yield Finding("digests", Outcome.WARNING, what, fix)
        return
    unlocked = sorted(_without_digest(subject.configuration["services"]))
    if unlocked:
        what = (
            f"{len(unlocked)} images are not locked by digest: {', '.join(unlocked[:3])}{', …' * (len(unlocked) > 3)}"
        )
        yield Finding("digests", Outcome.WARNING, what, "run: invoke images.lock")
    else:
        yield Finding("digests", Outcome.OK, "every published image is locked by its digest")


def _without_digest(services: Mapping[str, Any]) -> set[str]:
    return {each["image"] for each in services.values() if "build" not in each and "@sha256:" not in each["image"]}


def _setting(subject: Subject, name: str) -> str | None:
    return os.environ.get(name, subject.project.env.get(name))


CHECKS: Sequence[Callable[[Subject], Iterator[Finding]]] = (
    passwords, domain, address, readers, receivers, links, restorable, data_disk, clock, digests,
)  # fmt: skip
