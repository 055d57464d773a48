"""Checks of secrets/: existing and valid files that match .env, with safe permissions."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import replace

from toolkit.checkout import credentials, rotation_journal, setup
from toolkit.checkout.project import Project, Secret
from toolkit.checks.doctor.subject import Subject
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Finding, Outcome

SETUP = "run: invoke setup"
ROTATE = "invoke secrets.rotate --name={}"


def secrets(subject: Subject) -> Iterator[Finding]:
    """Every credential exists, is valid, matches .env, and is readable only by its owner and the containers."""
    project = subject.project
    found = [each for secret in project.secrets.values() for each in of_file(subject, secret)]
    found += [*of_folder(project), *of_rotation(project)]
    problems = [replace(finding, check="secrets") for finding in found]
    yield from problems or [Finding("secrets", Outcome.OK, f"{len(project.secrets)} credentials")]


def of_folder(project: Project) -> Iterator[Finding]:
    """Problems of the folder secrets/."""
    if project.secrets_dir.exists() and stat.S_IMODE(project.secrets_dir.stat().st_mode) & 0o077:
        yield Finding("secrets/", Outcome.WARNING, "other users of this machine can enter secrets/", SETUP)


def of_rotation(project: Project) -> Iterator[Finding]:
    """An unfinished rotation, if there is one."""
    if staged := rotation_journal.read(project):
        what = f"the rotation of {staged.account.name} is unfinished"
        yield Finding("rotation", Outcome.WARNING, what, staged.resume)


def of_file(subject: Subject, secret: Secret) -> Iterator[Finding]:
    """Problems of a credential's file or of its variable in .env."""
    project, name = subject.project, secret.name
    try:
        value = credentials.require_consistent(project, secret)
        others = len(credentials.load_all(project, secret)) - 1
    except ToolkitError as error:
        yield Finding.of_error(name, error)
        return
    path = credentials.path_of(project, name)
    mode = path.stat().st_mode
    if mode & 0o444 != 0o444:
        yield Finding(name, Outcome.FAILED, f"the containers' accounts cannot read {secret.file}", SETUP)
    if mode & 0o022:
        what = f"accounts other than its owner's can write {secret.file}"
        yield Finding(name, Outcome.WARNING, what, f"run: chmod go-w {secret.file}")
    if path.read_bytes().endswith(b"\n"):
        what = f"{secret.file} ends with a newline, which other programs may read as part of the value"
        yield Finding(name, Outcome.WARNING, what, f"run: truncate --size=-1 {secret.file}")
    if others and rotation_journal.read(project) is None:
        what = f"{secret.file} contains {others} more besides the token in use"
        yield Finding(
            name, Outcome.WARNING, what, f"delete the other lines of {secret.file}, or run: {ROTATE.format(name)}"
        )
    if project.profile and secret.variable in subject.variables:
        files = setup.uses_secret_files(project, project.profile)
        if project.env.get(secret.variable) != (credentials.UNUSED if files else value):
            needs = "must not contain a password in this profile" if files else "is not set"
            yield Finding(name, Outcome.FAILED, f"{secret.variable} in .env {needs}", SETUP)
