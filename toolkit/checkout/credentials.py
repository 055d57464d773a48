"""The credentials in secrets/: generated, read and validated against one rule."""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path

from toolkit.checkout.project import Project, Secret
from toolkit.core import files
from toolkit.core.errors import ToolkitError

RULE = "letters, digits, '-' and '_', starting with a letter or a digit, 16 to 128 characters"
UNUSED = "unused"
"""The placeholder in .env for a password that containers read from its file."""


def problem(value: str, users: Sequence[str] = ()) -> str | None:
    """Why ``value`` is invalid as a password or, given ``users``, as one of them; None if it is valid.

    Values are used unescaped in URLs, configuration files, command lines and .env, so the rule only allows characters
    that are literal in all of them.
    """
    if not value:
        return "it is empty"
    if users:
        return None if value in users else f"it is not one of the users {', '.join(users)}"
    if not re.fullmatch(r"[A-Za-z0-9_-]+", value):
        return f"it contains a character that is not allowed; allowed: {RULE}"
    if not value[0].isalnum():
        return f"it does not start with a letter or a digit; allowed: {RULE}"
    if not 16 <= len(value) <= 128:
        return f"it is too {'short' if len(value) < 16 else 'long'}; allowed: {RULE}"
    return None


def generate() -> str:
    """A new password: 43 characters with 256 bits of entropy."""
    while True:
        value = secrets.token_urlsafe(32)
        if problem(value) is None:
            return value


def path_of(project: Project, name: str) -> Path:
    """The file of a credential."""
    return project.secrets_dir / f"{name}.txt"


def load(project: Project, secret: Secret) -> str:
    """The credential in its file; of several tokens the one in use.

    Raises:
        ToolkitError: the file is missing, unreadable or invalid; the message does not contain the value.
    """
    return load_all(project, secret)[0]


def load_all(project: Project, secret: Secret) -> list[str]:
    """Every value in a credential's file: its content without one trailing newline, or each line of a token file.

    Raises:
        ToolkitError: see `load`.
    """
    name = secret.file
    try:
        content = path_of(project, secret.name).read_bytes().decode().removesuffix("\n")
    except FileNotFoundError as error:
        raise ToolkitError(f"{name} is missing", fix="run: invoke setup") from error
    except OSError as error:
        denied = isinstance(error, PermissionError)
        fix = files.fix_for(error, path_of(project, secret.name)) if denied else f"make {name} a regular file"
        raise ToolkitError(f"cannot read {name}", error.strerror or str(error), fix) from error
    except UnicodeDecodeError as error:
        why = f"it is not plain text; allowed: {RULE}"
        raise ToolkitError(f"{name} is invalid", why, f"write a valid password into {name}") from error
    values = content.split("\n") if secret.token else [content]
    broken = next(filter(None, (problem(value, secret.users) for value in values)), None)
    if broken:
        valid = "the user in use" if secret.users else "a valid password"
        fix = f"write {valid} into {name}, or, if no volume uses it yet, delete the file and run: invoke setup"
        raise ToolkitError(f"{name} is invalid", broken, fix)
    return values


def first_line(project: Project, name: str) -> str | None:
    """The first line of a credential's file, valid or not; None if the file cannot be read."""
    try:
        return path_of(project, name).read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError):
        return None


def read(project: Project) -> dict[str, str]:
    """Every credential, by its variable in .env.

    Raises:
        ToolkitError: one of them is invalid, see `load`.
    """
    return {secret.variable: load(project, secret) for secret in project.secrets.values()}


def user_of(project: Project, secret: Secret) -> str:
    """The user that a password belongs to.

    Raises:
        ToolkitError: the file that names the user is invalid, see `load`.
    """
    return load(project, project.secrets[secret.user_file]) if secret.user_file else secret.user


def authorization(project: Project) -> dict[str, str]:
    """The header that authorizes a write request to the API.

    Raises:
        ToolkitError: the token is invalid, see `load`.
    """
    return {"Authorization": f"Bearer {load(project, project.secrets['api_token'])}"}


def ensure(project: Project) -> list[str]:
    """Create missing credentials, from .env if it has the value, else at random.

    An account with several users starts with the first. Existing values are validated before anything is written;
    existing files are never changed.

    Returns:
        The names of the created credentials.

    Raises:
        ToolkitError: a value is invalid, .env and secrets/ differ, or a file cannot be written.
    """
    initial = {secret.name: _initial_value(project, secret) for secret in project.secrets.values()}
    missing = {name: value for name, value in initial.items() if value is not None}
    _make_private(project.secrets_dir)
    for name in project.secrets:
        files.remove_temporaries(path_of(project, name))
    for name, value in missing.items():
        files.create(path_of(project, name), value)
    return list(missing)


def _initial_value(project: Project, secret: Secret) -> str | None:
    """The initial value of a credential without a file; None if the file exists."""
    if os.path.lexists(path_of(project, secret.name)):
        require_consistent(project, secret)
        return None
    value = env_value(project, secret)
    broken = problem(value, secret.users) if value else None
    if broken:
        variable = secret.variable
        raise ToolkitError(f"{variable} in .env is invalid", broken, f"choose another {variable} in .env")
    return value or next(iter(secret.users), "") or generate()


def require_consistent(project: Project, secret: Secret) -> str:
    """The credential in its file, if .env has no other value for it.

    Raises:
        ToolkitError: the file is invalid, or .env has another value.
    """
    value = load(project, secret)
    if env_value(project, secret) not in {"", value}:
        raise ToolkitError(
            f"{secret.file} and {secret.variable} in .env differ",
            "the services accept only one of them",
            f"write the correct value into {secret.file}, delete the line {secret.variable} in .env, "
            "then run: invoke setup",
        )
    return value


def env_value(project: Project, secret: Secret) -> str:
    """The value of a credential in .env; empty if there is none."""
    value = project.env.get(secret.variable, "")
    return "" if value == UNUSED else value


def protect(project: Project) -> list[str]:
    """Make the secret files readable for the containers' users.

    A mounted file keeps the host's permissions, and containers run as other users. The folder, which only its owner can
    enter, keeps the other users of this host out.

    Returns:
        A line for each change.

    Raises:
        ToolkitError: the permissions of a file cannot be changed.
    """
    changed = []
    for secret in project.secrets.values():
        path = path_of(project, secret.name)
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o444 != 0o444:
            _chmod(path, mode | 0o444)
            changed.append(f"{secret.file}: made readable for the containers")
    return changed


def _make_private(folder: Path) -> None:
    try:
        files.make_folder(folder, 0o700)
    except OSError as error:
        why, fix = error.strerror or str(error), files.fix_for(error, folder)
        raise ToolkitError(f"cannot create {folder}", why, fix) from error
    if stat.S_IMODE(folder.stat().st_mode) != 0o700:
        _chmod(folder, 0o700)


def _chmod(path: Path, mode: int) -> None:
    try:
        path.chmod(mode)
    except OSError as error:
        raise ToolkitError(
            f"cannot change the permissions of {path}", error.strerror or str(error), f"sudo chmod {mode:o} {path}"
        ) from error
