"""The journal of a password rotation: the old and the new values, on disk from before the first step to after the last.

The journal is a folder, created and removed atomically; while it exists, the rotation is unfinished. Progress is not
recorded, since every step is idempotent.
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
    """An unfinished rotation, with the values by secret."""

    account: Account
    before: Mapping[str, str]
    after: Mapping[str, str]

    @property
    def resume(self) -> str:
        """The command that completes the rotation."""
        return f"run: invoke secrets.rotate --name={self.account.name}"

    @property
    def old(self) -> Credential:
        """The credential to revoke."""
        return self.account.credential(self.before)

    @property
    def new(self) -> Credential:
        """The credential that replaces it."""
        return self.account.credential(self.after)


def begin(project: Project, account: Account) -> StagedRotation:
    """Generate new values and record them together with the current ones.

    Raises:
        ToolkitError: a file cannot be read or written; no rotation was started.
    """
    before = account.current_values(project)
    staged = StagedRotation(account, before, account.next_values(before))
    remove_leftovers(project)
    try:
        files.make_folder(_staging_folder(project), 0o700)
        for kind, values in ((OLD, staged.before), (NEW, staged.after)):
            for name, value in values.items():
                files.write_atomically(_staging_folder(project) / f"{name}.{kind}", value, mode=0o600)
        files.rename(_staging_folder(project), folder(project))
    except OSError as error:
        raise files.write_error(folder(project), error) from error
    return staged


def read(project: Project) -> StagedRotation | None:
    """The unfinished rotation, or None."""
    found = {path.name: path.read_text(encoding="utf-8") for path in folder(project).glob("*")}
    for account in accounts(project):
        if f"{account.password.name}.{NEW}" in found:
            before = {secret.name: found[f"{secret.name}.{OLD}"] for secret in account.secrets}
            return StagedRotation(
                account, before, {secret.name: found[f"{secret.name}.{NEW}"] for secret in account.secrets}
            )
    return None


def install(project: Project, staged: StagedRotation) -> None:
    """Write the new values to secrets/ and, if it has the old ones, to .env.

    Raises:
        ToolkitError: a file cannot be written.
    """
    for name, value in staged.after.items():
        files.overwrite(credentials.path_of(project, name), value)
    in_env = {each.variable: staged.after[each.name] for each in staged.account.secrets
            if credentials.env_value(project, each)}  # fmt: skip
    envfile.update(project.env_file, in_env)


def installed_at(project: Project, staged: StagedRotation) -> datetime:
    """The modification time of the password's file."""
    path = credentials.path_of(project, staged.account.password.name)
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def complete(project: Project) -> None:
    """Close the journal and delete the old values."""
    remove_leftovers(project)
    files.rename(folder(project), _staging_folder(project))
    remove_leftovers(project)


def recover(project: Project) -> None:
    """Recover from a killed run: afterwards all files have the old values, or all have the new ones.

    Raises:
        ToolkitError: a file cannot be written.
    """
    remove_leftovers(project)
    staged = read(project)
    if staged and _partly_installed(project, staged):
        install(project, staged)


def remove_leftovers(project: Project) -> None:
    """Remove the remains of a rotation that was not started yet or was already completed."""
    shutil.rmtree(_staging_folder(project), ignore_errors=True)


def folder(project: Project) -> Path:
    """The folder of the values while a rotation is unfinished."""
    return project.secrets_dir / ".rotation"


def _staging_folder(project: Project) -> Path:
    return project.secrets_dir / ".rotation.part"


def _partly_installed(project: Project, staged: StagedRotation) -> bool:
    """Whether any file already has a new value."""
    return any(
        value in {credentials.first_line(project, name), project.env.get(project.secrets[name].variable)}
        for name, value in staged.after.items()
    )
