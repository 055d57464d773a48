"""A rotation on disk, from before its first step until after its last one: the values before it and after it.

The folder is the journal: it appears and goes in one step, and while it is there the rotation is unfinished. How far it
has come is not written down: every step can be repeated.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from toolkit.checkout import credentials
from toolkit.checkout.accounts import Account, Credential, accounts
from toolkit.checkout.project import Project
from toolkit.core import envfile, files

OLD, NEW = "old", "new"


@dataclass(frozen=True)
class StagedRotation:
    """A rotation that was begun; the values by secret."""

    account: Account
    before: Mapping[str, str]
    after: Mapping[str, str]

    @property
    def resume(self) -> str:
        """The command that completes it."""
        return f"run: invoke secrets.rotate --name={self.account.name}"

    @property
    def old(self) -> Credential:
        """What is to be refused in the end."""
        return self.account.credential(self.before)

    @property
    def new(self) -> Credential:
        """What takes its place."""
        return self.account.credential(self.after)


def begin(project: Project, account: Account) -> StagedRotation:
    """Choose new values and put them on disk beside the present ones.

    Raises:
        ToolkitError: a file cannot be read or written; no rotation was begun.
    """
    before = account.current_values(project)
    staged = StagedRotation(account, before, account.next_values(before))
    remove_leftovers(project)
    try:
        _staging_folder(project).mkdir(mode=0o700)
        for kind, values in ((OLD, staged.before), (NEW, staged.after)):
            for name, value in values.items():
                files.write_atomically(_staging_folder(project) / f"{name}.{kind}", value, mode=0o600)
        _staging_folder(project).rename(folder(project))
    except OSError as error:
        raise files.write_error(folder(project), error) from error
    return staged


def read(project: Project) -> StagedRotation | None:
    """The rotation that is unfinished, or None."""
    found = {path.name: path.read_text(encoding="utf-8") for path in folder(project).glob("*")}
    for account in accounts(project):
        if f"{account.password.name}.{NEW}" in found:
            before = {secret.name: found[f"{secret.name}.{OLD}"] for secret in account.secrets}
            return StagedRotation(
                account, before, {secret.name: found[f"{secret.name}.{NEW}"] for secret in account.secrets}
            )
    return None


def install(project: Project, staged: StagedRotation) -> None:
    """Let secrets/ and, where it holds the values, .env say the new ones.

    Raises:
        ToolkitError: a file cannot be written.
    """
    for name, value in staged.after.items():
        files.overwrite(credentials.path_of(project, name), value)
    held = {each.variable: staged.after[each.name] for each in staged.account.secrets
            if credentials.env_value(project, each)}  # fmt: skip
    envfile.update(project.env_file, held)


def installed_at(project: Project, staged: StagedRotation) -> datetime:
    """Since when the file of the password says what it says."""
    path = credentials.path_of(project, staged.account.password.name)
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def complete(project: Project) -> None:
    """The rotation is over; the values before it are gone."""
    remove_leftovers(project)
    folder(project).rename(_staging_folder(project))
    remove_leftovers(project)


def recover(project: Project) -> None:
    """Complete what a run that was killed has half written: afterwards all files are the old ones, or all the new ones.

    Raises:
        ToolkitError: a file cannot be written.
    """
    remove_leftovers(project)
    staged = read(project)
    if staged and _partly_installed(project, staged):
        install(project, staged)


def remove_leftovers(project: Project) -> None:
    """Remove what is left of a rotation that was not begun yet, or had ended."""
    shutil.rmtree(_staging_folder(project), ignore_errors=True)


def folder(project: Project) -> Path:
    """Where the values are while a rotation is unfinished."""
    return project.secrets_dir / ".rotation"


def _staging_folder(project: Project) -> Path:
    return project.secrets_dir / ".rotation.part"


def _partly_installed(project: Project, staged: StagedRotation) -> bool:
    """Whether any place says a new value."""
    return any(
        value in {credentials.first_line(project, name), project.env.get(project.secrets[name].variable)}
        for name, value in staged.after.items()
    )
