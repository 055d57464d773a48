"""Import targets of another monitor into a file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from toolkit.core.errors import ToolkitError
from toolkit.operate.targets import document, export
from toolkit.operate.targets.importing import gatus, uptime_kuma
from toolkit.operate.targets.importing.imported import Imported

HEADER = "# Targets of {source}: check them, then: invoke targets.apply\n"


def run(gatus_file: str, kuma_file: str, path: str, *, yes: bool) -> None:
    """Write the targets of another monitor to a file, or to the standard output if the path is empty.

    Settings that are not imported, and the secrets to create, are listed on the standard error.

    Args:
        gatus_file: The configuration file of Gatus; empty if the import is from Uptime Kuma.
        kuma_file: The database of Uptime Kuma; empty if the import is from Gatus.
        path: The file to write.
        yes: Overwrite it without asking.

    Raises:
        ToolkitError: not exactly one source is given (exit code 2), it cannot be read, or the file cannot be written.
    """
    if bool(gatus_file) == bool(kuma_file):
        raise ToolkitError("nothing to import" if not gatus_file else "two sources", "one is required",
                           "add --gatus=FILE or --uptime-kuma=FILE", code=2)  # fmt: skip
    if gatus_file:
        found, source = gatus.read(document.read(Path(gatus_file))), "Gatus"
    else:
        found, source = uptime_kuma.read(Path(kuma_file)), "Uptime Kuma"
    export.write(HEADER.format(source=source) + export.dump({"targets": found.targets}), path, yes=yes)
    for line in report(found):
        print(line, file=sys.stderr)


def report(found: Imported) -> list[str]:
    """The lines that describe an import: settings that are not imported, and the secrets to create."""
    lines = [f"{len(found.targets)} targets imported"]
    if found.losses:
        lines += ["", "not imported, or imported with changes:"]
        lines += _table([(each.target or "(all)", each.what, each.why) for each in found.losses])
    if found.secrets:
        lines += ["", "secrets to create, one line each, with chmod 644 (secrets/targets/README.md):"]
        lines += _table([(f"secrets/targets/{each.name}", each.target, each.content) for each in found.secrets])
    return ["".join(each if each.isprintable() else "�" for each in line) for line in lines]


def _table(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return [f"  {row[0].ljust(widths[0])}  {row[1].ljust(widths[1])}  {row[2]}" for row in rows]
