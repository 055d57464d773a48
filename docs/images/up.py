"""Take the picture of docs/operations.md: `python -m docs.images.up` runs `invoke up` and draws its output.

The picture shows the ports and the times of this run, so take it with default ports on an idle machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rich.text import Text

from docs.images.terminal import draw

HERE = Path(__file__).resolve().parent
# Colours as on a terminal, but no animation: the picture shows the final state of each table.
AS_ON_A_TERMINAL = {"TERM": "xterm-256color", "FORCE_COLOR": "1", "TTY_INTERACTIVE": "0", "COLUMNS": "140"}


def main() -> None:
    """Write up.svg beside this file."""
    up = subprocess.run(
        [sys.executable, "-m", "invoke", "up"],
        cwd=HERE.parents[1],
        env={**os.environ, **AS_ON_A_TERMINAL},
        capture_output=True,
        text=True,
        check=True,
    )
    draw(Text.from_ansi("$ invoke up\n" + up.stdout), HERE / "up.svg")


if __name__ == "__main__":
    main()
