"""The credentials of a checkout: files in secrets/, made here, read here, and held against one rule."""

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
# What .env holds in the place of a password where the containers read the files themselves.
UNUSED = "unused"


def problem(value: str, users: Sequence[str] = ()) -> str | None:
    """Why ``value`` is refused as a password or, where there are ``users`` to choose from, as one of them; else None.

    Every value is used as it is in URLs, configuration files, command lines and .env, each with characters of its own
    that would have to be escaped: the rule allows what is the same in all of them.
    """
    if not value:
        return "it is empty"
    if users:
        return None if value in users else f"it names none of the users {', '.join(users)}"
    if not re.fullmatch(r"[A-Za-z0-9_-]+", value):
        return f"it contains a character that is not allowed; the rule: {RULE}"
    if not value[0].isalnum():
        return f"it does not start with a letter or a digit; the rule: {RULE}"
    if not 16 <= len(value) <= 128:
        return f"it is too {'short' if len(value) < 16 else 'long'}; the rule: {RULE}"
    return None


def generate() -> str:
    """A new password: 43 characters, 256 bits of chance."""
    while True:
        value = secrets.token_urlsafe(32)
        if problem(value) is None:
            return value


def path_of(project: Project, name: str) -> Path:
    """The file of a credential."""
    return project.secrets_dir / f"{name}.txt"


def load(project: Project, secret: Secret) -> str:
    """The credential in its file, the one in use where there are several.

    Raises:
        ToolkitError: the file is missing, unreadable, empty or breaks the rule; the value is not shown.
    """
    return load_all(project, secret)[0]


def load_all(project: Project, secret: Secret) -> list[str]:
    """Every value in the file of a credential: its content without one trailing newline, of a token each line.

    Raises:
        ToolkitError: as `load`.
    """
    name = secret.file
    try:
        content = path_of(project, secret.name).read_bytes().decode().removesuffix("\n")
    except FileNotFoundError as error:
        raise ToolkitError(f"{name} is missing", fix="run: invoke setup") from error
    except OSError as error:
        fix = f"make {name} a file that your account can read"
        raise ToolkitError(f"cannot read {name}", error.strerror or str(error), fix) from error
    except UnicodeDecodeError as error:
        why = f"it is not plain text; the rule: {RULE}"
        raise ToolkitError(f"{name} is refused", why, f"write a valid password into {name}") from error
    values = content.split("\n") if secret.token else [content]
    broken = next(filter(None, (problem(value, secret.users) for value in values)), None)
    if broken:
        valid = "the user in use" if secret.users else "a valid password"
        fix = f"write {valid} into {name}, or delete the file where no volume knows it and run: invoke setup"
        raise ToolkitError(f"{name} is refused", broken, fix)
    return values


def first_line(project: Project, name: str) -> str | None:
    """What the first line in the file of a credential says, valid or not; None where it cannot be read."""
    try:
        return path_of(project, name).read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError):
        return None


def read(project: Project) -> dict[str, str]:
    """Every credential, by the variable that it fills.

    Raises:
        ToolkitError: one of them cannot be used, see `load`.
    """
    return {secret.variable: load(project, secret) for secret in project.secrets.values()}


def user_of(project: Project, secret: Secret) -> str:
    """The user that a password belongs to.

    Raises:
        ToolkitError: the file that names the user cannot be used, see `load`.
    """
    return load(project, project.secrets[secret.user_file]) if secret.user_file else secret.user


def authorization(project: Project) -> dict[str, str]:
    """The header that lets a request write to the API.

    Raises:
        ToolkitError: the token cannot be used, see `load`.
    """
    return {"Authorization": f"Bearer {load(project, project.secrets['api_token'])}"}


def ensure(project: Project) -> list[str]:
    """Create the credentials that are missing, from .env where it has the value, else from chance.

    Of the users of an account the first is in use. Everything that exists is checked before anything is written, and
    no file that exists is touched.

    Returns:
        The names of those that were created.

    Raises:
        ToolkitError: a value breaks the rule, .env and secrets/ disagree, or a file cannot be written.
    """
    settled = {secret.name: _initial_value(project, secret) for secret in project.secrets.values()}
    missing = {name: value for name, value in settled.items() if value is not None}
    _make_private(project.secrets_dir)
    for name in project.secrets:
        files.remove_temporaries(path_of(project, name))
    for name, value in missing.items():
        files.create(path_of(project, name), value)
    return list(missing)


def _initial_value(project: Project, secret: Secret) -> str | None:
    """The value that a credential without a file gets, or None where there is one."""
    if os.path.lexists(path_of(project, secret.name)):
        require_consistent(project, secret)
        return None
    value = env_value(project, secret)
    broken = problem(value, secret.users) if value else None
    if broken:
        variable = secret.variable
        raise ToolkitError(f"{variable} in .env is refused", broken, f"choose another {variable} in .env")
    return value or next(iter(secret.users), "") or generate()


def require_consistent(project: Project, secret: Secret) -> str:
    """A credential that has a file, which .env does not contradict.

    Raises:
        ToolkitError: the file cannot be used, or .env has another value.
    """
    value = load(project, secret)
    if env_value(project, secret) not in {"", value}:
        raise ToolkitError(
            f"{secret.file} and {secret.variable} in .env differ",
            "only one of them can be the one that the services know",
            f"put the right one into {secret.file}, delete the line of {secret.variable} in .env, "
            "then run: invoke setup",
        )
    return value


def env_value(project: Project, secret: Secret) -> str:
    """The credential that .env holds, empty where it holds none."""
    value = project.env.get(secret.variable, "")
    return "" if value == UNUSED else value


def protect(project: Project) -> list[str]:
    """Give the folder to its owner alone, and let the containers' accounts read the files in it.

    A mounted file keeps the host's permissions, and the containers run as other users: what keeps other users of this
    machine out is the folder.

    Returns:
        What was changed.

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
        folder.mkdir(mode=0o700, exist_ok=True)
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
