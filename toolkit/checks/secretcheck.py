"""Looking over every credential: its file, its strength, its age, and whether it still opens its service."""

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
from toolkit.checks.logins import LOGINS, refusal, unasked
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding, Outcome, Report, one_line
from toolkit.engine.compose import Docker

OLD = 90
"""Days after which a password is to be replaced."""

WEAK = 50
"""Bits of guessing below which a password is weak; 16 random characters have 53, what `setup` makes has over 100."""

AT_ONCE = 4
"""Logins tried side by side."""

REPLACE = "run: invoke secrets.rotate --name={}"


@dataclass(frozen=True)
class Row:
    """What is known of one credential; ``strength`` in bits and ``age`` in days where they are known."""

    name: str
    account: str
    strength: int | None
    age: int | None
    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> Outcome:
        """That of its worst finding."""
        return max((finding.outcome for finding in self.findings), key=lambda outcome: outcome.severity)


def check(project: Project, docker: Docker) -> list[Row]:
    """Every credential in the order of invoke.yaml, then what is wrong with the folder or unfinished."""
    subject = Subject(project, docker)
    running = _Running.of(docker)
    values = _passwords(project)

    def row(secret: Secret) -> Row:
        findings = list(of_file(subject, secret))
        value = values.get(secret.name)
        strength = None if value is None else min(map(bits, credentials.load_all(project, secret)))
        if value is not None and strength is not None:
            findings += _qualities(project, secret, strength, values)
            findings.append(_login(project, docker, secret, running))
        return Row(
            secret.name,
            _account(project, secret),
            strength,
            _age(project, secret),
            tuple(findings) or (Finding(secret.name, Outcome.OK, "valid"),),
        )

    with ThreadPoolExecutor(AT_ONCE) as pool:
        rows = list(pool.map(row, project.secrets.values()))
    whole = [*of_folder(project), *of_rotation(project)]
    return rows + [Row(finding.check, "", None, None, (finding,)) for finding in whole]


def bits(password: str) -> int:
    """How many bits of guessing a password costs, by zxcvbn: it knows common words, names, keyboards and sequences."""
    from zxcvbn import zxcvbn

    guesses = zxcvbn(password, max_length=128)["guesses_log10"]
    return round(float(guesses) / math.log10(2))


def report(credentials: Sequence[Row]) -> Report:
    """The findings of every credential, with its account, its strength and its age beside them."""
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
    return Report("credentials", [finding for row in credentials for finding in row.findings], columns)


@dataclass(frozen=True)
class _Running:
    """The services that run; where Docker cannot be asked, ``problem`` says why."""

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
    """The passwords that keep the rule, by name."""
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
    """The service and the user of a password; the service alone of a token."""
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


def _qualities(project: Project, secret: Secret, strength: int, passwords: dict[str, str]) -> Iterator[Finding]:
    """What makes a valid password a bad one."""
    if strength < WEAK:
        what = f"it can be guessed: {strength} bits, where {WEAK} are the least"
        yield Finding(secret.name, Outcome.WARNING, what, REPLACE.format(secret.name))
    same = [name for name, value in passwords.items() if value == passwords[secret.name] and name != secret.name]
    if same:
        yield Finding(secret.name, Outcome.WARNING, f"it is the same as {', '.join(same)}", REPLACE.format(secret.name))
    age = _age(project, secret)
    if age is not None and age > OLD:
        yield Finding(
            secret.name, Outcome.WARNING, f"it is {age} days old, more than {OLD}", REPLACE.format(secret.name)
        )


def _login(project: Project, docker: Docker, secret: Secret, running: _Running) -> Finding:
    """Whether a valid password opens its service, where that can be tried."""
    service = secret.service
    if running.problem:
        return Finding(secret.name, Outcome.SKIPPED, f"not tried: {running.problem}")
    try:
        if why := unasked(project, docker, service):
            return Finding(secret.name, Outcome.OK, why)
        if service not in running.services:
            return Finding(secret.name, Outcome.SKIPPED, f"not tried: {service} does not run")
        said = refusal(project, docker, secret)
    except ToolkitError as error:
        said = error.what
    if not said:
        return Finding(secret.name, Outcome.OK, f"{service} accepts it")
    fix = f"put the value that {service} knows back into {secret.file}, or let it take this one: {LOGINS[service].take}"
    return Finding(secret.name, Outcome.FAILED, f"{service} does not accept it: {said}", fix)
