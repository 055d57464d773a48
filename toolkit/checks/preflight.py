"""What keeps a checkout from production: the doctor's findings, and what only production asks for."""

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

from toolkit.checkout import credentials, setup
from toolkit.checkout.project import LOCAL, Project
from toolkit.checks.doctor import CHECKS as DOCTORS
from toolkit.checks.doctor import Subject, examine
from toolkit.core.console import say
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding, Outcome, Report
from toolkit.engine.compose import Docker

PRODUCTION = "prod"

BLOCKERS = frozenset({"memory", "permissions", "limits"})
"""Checks of the doctor whose warnings are no matter of taste in production."""

WORDS = (
    "password", "passwort", "secret", "changeme", "change-me", "admin", "guest", "netmon", "monitor", "network",
    "postgres", "redis", "rabbitmq", "rabbit", "kafka", "grafana", "qwerty", "letmein", "default", "example", "abcdef",
)  # fmt: skip
LOOKALIKES = str.maketrans("0134@5$", "oleaass")
REMAINDER = 8
"""So many letters at least besides these words."""
DISTINCT = 10
"""So many different characters at least; one in a million values of chance has fewer."""

CHANNEL_FILES = {
    "webhook": "webhook_url", "email": "smtp_password", "slack": "slack_api_url", "pagerduty": "pagerduty_routing_key",
    "deadmansswitch": "deadmansswitch_url",
}  # fmt: skip

ROOM = 20_000_000_000
"""Bytes for the data: metrics up to 8 GB, a week of logs and traces, the record, two releases of every image."""

UNSYNCHRONISED = 5
"""What adjtimex(2) returns while the kernel's clock is not steered (TIME_ERROR)."""


def preflight(project: Project, docker: Docker, profile: str) -> Report:
    """Every finding for a profile, whether or not the checkout is set up for it; ``failed`` ones are blockers.

    Raises:
        ToolkitError: there is no such profile (exit code 2).
    """
    project.layers(profile)
    files = setup.settings(project, profile)["COMPOSE_FILE"]
    subject = Subject(project, docker.using(COMPOSE_FILE=files, NETMON_PROFILE=profile))
    found = examine(subject, DOCTORS)
    serious = [
        replace(each, outcome=Outcome.FAILED) if each.outcome is Outcome.WARNING and each.check in BLOCKERS else each
        for each in found
    ]
    return Report("checks", [*_profile(project, profile), *serious, *examine(subject, CHECKS)])


def announce(project: Project, docker: Docker) -> None:
    """Say how much a checkout of the production profile lacks; nothing for the other profiles."""
    if project.profile != PRODUCTION:
        return
    found = preflight(project, docker, PRODUCTION)
    blockers, warnings = found.count(Outcome.FAILED), found.count(Outcome.WARNING)
    if blockers or warnings:
        say(f"not ready for production: {blockers} blockers, {warnings} warnings (invoke preflight)", "warning")


def _profile(project: Project, profile: str) -> list[Finding]:
    if not setup.uses_secret_files(project, profile):
        what = f"{profile} is for development: it publishes every interface, and keeps passwords in .env"
        return [Finding("profile", Outcome.FAILED, what, "use the profile prod")]
    if project.profile != profile:
        what = f"this checkout is set up for {project.profile or 'nothing yet'}"
        return [Finding("profile", Outcome.FAILED, what, f"run: invoke setup --profile={profile}")]
    return [Finding("profile", Outcome.OK, profile)]


def passwords(subject: Subject) -> Iterator[Finding]:
    """No password can be guessed, and none opens two doors."""
    project, seen = subject.project, dict[str, str]()
    complaints = []
    for name, secret in project.secrets.items():
        if secret.users:
            continue
        try:
            values = credentials.load_all(project, secret)
        except ToolkitError as error:
            complaints.append(Finding.of_error("passwords", error))
            continue
        fix = f"delete secrets/{name}.txt and run invoke setup, where no volume knows it yet; else change it"
        for value in values:
            if weak := weakness(value):
                complaints.append(Finding("passwords", Outcome.FAILED, f"secrets/{name}.txt {weak}", fix))
            if value in seen:
                what = f"secrets/{name}.txt and secrets/{seen[value]}.txt are the same"
                complaints.append(Finding("passwords", Outcome.FAILED, what, fix))
            seen[value] = name
    yield from complaints or [Finding("passwords", Outcome.OK, f"{len(seen)}, none of which can be guessed")]


def weakness(password: str) -> str:
    """Why a password can be guessed; empty where it cannot."""
    for text in (password.lower(), password.lower().translate(LOOKALIKES)):
        if len(re.sub(rf"{'|'.join(WORDS)}|[^a-z]", "", text)) < REMAINDER:
            return "is made of common words and digits"
    return f"has fewer than {DISTINCT} different characters" if len(set(password)) < DISTINCT else ""


def domain(subject: Subject) -> Iterator[Finding]:
    """People reach the host by a public name, for which a certificate can be had."""
    name = _setting(subject, "DOMAIN") or "localhost"
    fix = "set DOMAIN in .env to a name whose DNS records point to this host"
    if problem := _unusable(name):
        yield Finding("domain", Outcome.FAILED, f"DOMAIN is {name}: {problem}", fix)
    else:
        yield Finding("domain", Outcome.OK, name)


def _unusable(name: str) -> str:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        pass
    else:
        return "an address, and certificates are for names"
    if not re.fullmatch(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?", name.lower()):
        return "not the name of a host (no scheme, no port, no path)"
    if re.search(r"(^|\.)(localhost|local|internal|test|example|invalid|home\.arpa|example\.(com|net|org))$", name):
        return "no browser trusts a certificate for it"
    return "" if "." in name else "not a complete name"


def address(subject: Subject) -> Iterator[Finding]:
    """The proxy listens where others reach it."""
    bound = _setting(subject, "PROXY_BIND_ADDRESS") or "127.0.0.1"
    try:
        loopback = ipaddress.ip_address(bound.strip("[]")).is_loopback
    except ValueError:
        yield Finding("address", Outcome.FAILED, f"PROXY_BIND_ADDRESS is {bound}, which is no address",
                      "set PROXY_BIND_ADDRESS=0.0.0.0 in .env")  # fmt: skip
        return
    if loopback:
        what = f"the proxy listens on {bound}: nobody but this host reaches it"
        yield Finding("address", Outcome.WARNING, what, "set PROXY_BIND_ADDRESS=0.0.0.0 in .env once all else is ready")
    else:
        yield Finding("address", Outcome.OK, f"the proxy listens on {bound}")


def receivers(subject: Subject) -> Iterator[Finding]:
    """An alert reaches somebody, also when the application itself is down."""
    named = _setting(subject, "ALERT_RECEIVERS")
    on = [name.strip() for name in ("app" if named is None else named).split(",") if name.strip()]
    folder = subject.project.secrets_dir / "alertmanager"
    empty = [name for name in on if name in CHANNEL_FILES and not _filled(folder / CHANNEL_FILES[name])]
    complaints = [
        Finding(
            "alert receivers",
            Outcome.FAILED,
            f"{name} is switched on, and secrets/alertmanager/{CHANNEL_FILES[name]} is missing or empty",
            "secrets/alertmanager/README.md says what goes in there",
        )
        for name in empty
    ]
    if "alertmanager" not in subject.configuration["services"]:
        what, fix = "monitoring is switched off: nobody is told of anything", "run: invoke up --with=monitoring"
        complaints.append(Finding("alert receivers", Outcome.FAILED, what, fix))
    elif not {*on} & (CHANNEL_FILES.keys() - {"deadmansswitch"}):
        what = f"alerts reach {'the application alone' if on else 'nobody'}: no person is told"
        fix = "switch a channel on: ALERT_RECEIVERS in .env (docs/alerting.md)"
        complaints.append(Finding("alert receivers", Outcome.FAILED, what, fix))
    elif "deadmansswitch" not in on:
        what = "nobody notices when this whole host is down: no dead man's switch"
        fix = "add deadmansswitch to ALERT_RECEIVERS in .env (docs/alerting.md)"
        complaints.append(Finding("alert receivers", Outcome.WARNING, what, fix))
    yield from complaints or [Finding("alert receivers", Outcome.OK, ", ".join(on))]


def _filled(path: Path) -> bool:
    try:
        return bool(path.read_bytes().strip())
    except OSError:
        return False


def backup(subject: Subject) -> Iterator[Finding]:
    """The data survives this host."""
    if target := _setting(subject, "BACKUP_TARGET"):
        yield Finding("backup", Outcome.OK, target)
    else:
        fix = "set BACKUP_TARGET in .env to where the backups of this host are kept"
        yield Finding("backup", Outcome.FAILED, "no backup is set up: what this host loses is lost", fix)


def room(subject: Subject) -> Iterator[Finding]:
    """The disk holds what the services keep."""
    folder = Path(subject.info["DockerRootDir"])
    if not folder.exists():
        yield Finding("room", Outcome.OK, f"{folder} is not on this machine, so its space is not known here")
        return
    free = shutil.disk_usage(folder).free
    if free < ROOM:
        what = f"{free / 1e9:.0f} GB free on the disk of {folder}; with time the data takes {ROOM / 1e9:.0f} GB"
        fix = "give Docker a larger disk, or keep less: PROMETHEUS_RETENTION_SIZE in .env"
        yield Finding("room", Outcome.WARNING, what, fix)
    else:
        yield Finding("room", Outcome.OK, f"{free / 1e9:.0f} GB free for data")


def clock(_subject: Subject) -> Iterator[Finding]:
    """The clock is right: certificates, logs, traces and alerts rely on it."""
    state = clock_state()
    if state is None:
        yield Finding(
            "clock", Outcome.WARNING, "not checked: the kernel does not tell", "see to it that time is synchronised"
        )
    elif state == UNSYNCHRONISED:
        what = "the clock is not synchronised"
        yield Finding("clock", Outcome.WARNING, what, "install chrony, or run: timedatectl set-ntp true")
    else:
        yield Finding("clock", Outcome.OK, "synchronised")


def clock_state() -> int | None:
    """What the kernel says of its clock, see UNSYNCHRONISED; None where it cannot be asked."""
    try:
        state = int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)))  # larger than its struct timex
    except (AttributeError, OSError):
        return None
    return None if state < 0 else state


def digests(subject: Subject) -> Iterator[Finding]:
    """What runs is what was reviewed: a tag can be moved, a digest cannot."""
    if subject.project.images == LOCAL:
        what = "the images are built here from packages, in versions other than the published ones"
        fix = "run: invoke up --images=pull, where a registry is reached"
        yield Finding("digests", Outcome.WARNING, what, fix)
        return
    loose = sorted(_without_digest(subject.configuration["services"]))
    if loose:
        what = f"{len(loose)} images are not locked by digest: {', '.join(loose[:3])}{', …' * (len(loose) > 3)}"
        yield Finding("digests", Outcome.WARNING, what, "run: invoke images.lock")
    else:
        yield Finding("digests", Outcome.OK, "every published image is locked by its digest")


def _without_digest(services: Mapping[str, Any]) -> set[str]:
    return {each["image"] for each in services.values() if "build" not in each and "@sha256:" not in each["image"]}


def _setting(subject: Subject, name: str) -> str | None:
    return os.environ.get(name, subject.project.env.get(name))


CHECKS: Sequence[Callable[[Subject], Iterator[Finding]]] = (
    passwords, domain, address, receivers, backup, room, clock, digests,
)  # fmt: skip
