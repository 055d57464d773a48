"""The key that encrypts backups, in secrets/backup/, and the target's folder on this host."""

from __future__ import annotations

import hashlib
from pathlib import Path

from toolkit.checkout import credentials
from toolkit.checkout.project import Project
from toolkit.core import files
from toolkit.core.errors import ToolkitError

TARGET, FOLDER, COPY = "BACKUP_TARGET", "BACKUP_FOLDER", "BACKUP_KEY_COPY"


def path_of(project: Project) -> Path:
    """The file of the key."""
    return project.secrets_dir / "backup" / "key"


def ensure(project: Project) -> bool:
    """Create the key if a target is set and there is none; returns whether it was created.

    Raises:
        ToolkitError: the file cannot be written.
    """
    path = path_of(project)
    if not project.env.get(TARGET) or path.exists():
        return False
    try:
        path.parent.mkdir(mode=0o755, exist_ok=True)
    except OSError as error:
        raise files.write_error(path.parent, error) from error
    # Readable in the container; secrets/ above keeps other users out.
    files.create(path, credentials.generate() + "\n", mode=0o644)
    return True


def fingerprint(project: Project) -> str:
    """The fingerprint of the key, 12 hexadecimal digits; empty if there is none.

    Raises:
        ToolkitError: the file cannot be read.
    """
    try:
        key = path_of(project).read_bytes().strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ToolkitError("cannot read secrets/backup/key", error.strerror or str(error)) from error
    return hashlib.sha256(b"netmon backup key " + key).hexdigest()[:12]


def folder(project: Project) -> dict[str, str]:
    """The variable with the folder of a local target; empty for a remote one, if it was set before."""
    target = project.env.get(TARGET, "")
    if target.startswith("/"):
        return {FOLDER: target}
    return {FOLDER: ""} if project.env.get(FOLDER) else {}
