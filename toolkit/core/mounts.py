"""The file systems of this machine, from the kernel's table of mounts."""

from __future__ import annotations

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")


def mount_of(folder: Path) -> tuple[str, str]:
    """The mount point of a folder, and the type of its file system: empty if the table cannot be read."""
    try:
        lines = MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    found, path = (Path("/"), ""), folder.resolve()
    for line in lines:
        fields, _, right = line.partition(" - ")
        point = Path(re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), fields.split()[4]))
        # A later line is mounted over an earlier one.
        if path.is_relative_to(point) and len(point.parts) >= len(found[0].parts):
            found = (point, right.split()[0])
    return str(found[0]), found[1]
