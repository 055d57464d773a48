"""The owners of files: what root writes in the checkout of another account, with sudo, belongs to that account."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

ROOT = 0


def hand_over(new: int | Path, place: Path) -> None:
    """Give a new file or folder, if root has created it, to the owner of the one that it replaces, or of its folder.

    Args:
        new: The file or folder, or a descriptor of it.
        place: Its final path.

    Raises:
        OSError: its owner cannot be changed.
    """
    if os.geteuid() != ROOT:
        return
    former = place if os.path.lexists(place) and place != new else place.parent
    owner = former.stat()
    if isinstance(new, int):
        os.chown(new, owner.st_uid, owner.st_gid)
    else:
        os.chown(new, owner.st_uid, owner.st_gid, follow_symlinks=False)


def name(uid: int) -> str:
    """The name of an account, or its number if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def foreign(path: Path) -> tuple[Path, str] | None:
    """The file, or else its nearest visible parent folder, if it belongs to another account; and that account."""
    for each in (path, *path.parents):
        try:
            owner = each.stat().st_uid
        except OSError:
            continue  # missing, or in a folder that is closed to this account
        return (each, name(owner)) if owner != os.geteuid() else None
    return None
