"""Checks every credential: its file, its strength, its age, and its login."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from toolkit.checkout import credentials
from toolkit.checkout.project import Project, Secret
from toolkit.checks.doctor.secrets import of_file, of_folder, of_rotation
from toolkit.checks.doctor.subject import Subject
from toolkit.checks.logins import LOGINS, secret_error, skip_reason
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding, Outcome, Report, one_line
from toolkit.engine.compose import Docker

MAX_AGE_DAYS = 90
"""Days after which a password should be rotated."""

MIN_STRENGTH_BITS = 50
"""Bits below which a password is weak; 16 random characters have 53, generated passwords over 100."""

PARALLEL_LOGINS = 4
"""Number of parallel logins."""

REPLACE = "run: invoke secrets.rotate --name={}"


@dataclass(frozen=True)
class Row:
    """The check of one credential; ``strength`` in bits and ``age`` in days, None if unknown."""

    name: str
    account: str
    strength: int | None
    age: int | None
    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> Outcome:
        """The outcome of the worst finding."""
        return max((finding.outcome for finding in self.findings), key=lambda outcome: outcome.severity)


def check(project: Project, docker: Docker) -> list[Row]:
    """Every credential in the order of invoke.yaml, then problems of the folder and unfinished rotations."""
    subject = Subject(project, docker)
    running = _Running.of(docker)
    values = _passwords(project)

    def row(secret: Secret) -> Row:
        findings = list(of_file(subject, secret))
        value = values.get(secret.name)
        strength = None if value is None else min(map(bits, credentials.load_all(project, secret)))
        if value is not None and strength is not None:
            findings += _weaknesses(project, secret, strength, values)
            findings.append(_login(project, docker, secret, running))
        return Row(
            secret.name,
            _account(project, secret),
            strength,
            _age(project, secret),
            tuple(findings) or (Finding(secret.name, Outcome.OK, "valid"),),
        )

    with ThreadPoolExecutor(PARALLEL_LOGINS) as pool:
        rows = list(pool.map(row, project.secrets.values()))
    general = [*of_folder(project), *of_rotation(project)]
    return rows + [Row(finding.check, "", None, None, (finding,)) for finding in general]


def bits(password: str) -> int:
    """A password's strength in bits, by zxcvbn, which knows common words, names, keyboard patterns and sequences."""
    from zxcvbn import zxcvbn

    guesses = zxcvbn(password, max_length=128)["guesses_log10"]
    return round(float(guesses) / math.log10(2))


def report(credentials: Sequence[Row]) -> Report:
    """The report of every credential's findings, with its account, strength and age."""
    rows = {row.name: row for row in credentials}

    def strength(finding: Finding) -> str:
        bits = rows[finding.check].strength
        return "" if bits is None else f"{bits} bits"

    def age(finding: Finding) -> str:
        days = rows[finding.check].age
        return "" if days is None else f"{days} d"

    columns = {
        "": lambda finding: finding.outcome,
        "secret": lambda finding: finding.check,
        "account": lambda finding: rows[finding.check].account,
        "strength": strength,
        "age": age,
        "finding": one_line,
    }

    def facts(finding: Finding) -> dict[str, object]:
        row = rows[finding.check]
        return {"account": row.account, "strength_bits": row.strength, "age_days": row.age}

    return Report("credentials", [finding for row in credentials for finding in row.findings], columns, facts=facts)


@dataclass(frozen=True)
class _Running:
    """The running services, or the ``problem`` of the query to Docker."""

    services: frozenset[str] = frozenset()
    problem: str = ""

    @classmethod
    def of(cls, docker: Docker) -> _Running:
        try:
            containers = docker.containers()
        except ToolkitError as error:
            return cls(problem=error.what)
        running = (each for each in containers if each["State"]["Status"] == "running")
        return cls(frozenset(each["Config"]["Labels"]["com.docker.compose.service"] for each in running))


def _passwords(project: Project) -> dict[str, str]:
    """The valid passwords by name."""
    values = {}
    for secret in project.secrets.values():
        try:
            value = credentials.load(project, secret)
        except ToolkitError:
            continue
        if not secret.users:
            values[secret.name] = value
    return values


def _account(project: Project, secret: Secret) -> str:
    """The service and the user of a password; only the service of a token."""
    if secret.users:
        return ""
    if secret.token:
        return secret.service
    try:
        return f"{secret.service}: {credentials.user_of(project, secret)}"
    except ToolkitError:
        return f"{secret.service}: ?"


def _age(project: Project, secret: Secret) -> int | None:
    """The days since a file was written."""
    path = credentials.path_of(project, secret.name)
    return int((time.time() - path.stat().st_mtime) // 86400) if path.exists() and not secret.users else None


def _weaknesses(project: Project, secret: Secret, strength: int, passwords: dict[str, str]) -> Iterator[Finding]:
    """The weaknesses of a valid password: guessable, reused, old."""
    if strength < MIN_STRENGTH_BITS:
        what = f"it is guessable: {strength} bits, at least {MIN_STRENGTH_BITS} required"
        yield Finding(secret.name, Outcome.WARNING, what, REPLACE.format(secret.name))
    same = [name for name, value in passwords.items() if value == passwords[secret.name] and name != secret.name]
    if same:
        yield Finding(secret.name, Outcome.WARNING, f"it is the same as {', '.join(same)}", REPLACE.format(secret.name))
    age = _age(project, secret)
    if age is not None and age > MAX_AGE_DAYS:
        yield Finding(
            secret.name, Outcome.WARNING, f"it is {age} days old, more than {MAX_AGE_DAYS}", REPLACE.format(secret.name)
        )


def _login(project: Project, docker: Docker, secret: Secret, running: _Running) -> Finding:
    """The result of a login with a valid password, if its service is running."""
    service = secret.service
    if running.problem:
        return Finding(secret.name, Outcome.SKIPPED, f"not tested: {running.problem}")
    try:
        if why := skip_reason(project, docker, service):
            return Finding(secret.name, Outcome.OK, why)
        if service not in running.services:
            return Finding(secret.name, Outcome.SKIPPED, f"not tested: {service} is not running")
        problem = secret_error(project, docker, secret)
    except ToolkitError as error:
        problem = error.what
    if not problem:
        return Finding(secret.name, Outcome.OK, f"{service} accepts it")
    fix = f"restore the value that {service} accepts in {secret.file}, or apply this one: {LOGINS[service].apply}"
    return Finding(secret.name, Outcome.FAILED, f"{service} rejects it: {problem}", fix)
