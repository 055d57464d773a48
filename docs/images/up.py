"""Take README.md's picture of the terminal: `python docs/images/make.py` runs `invoke up` and draws what it prints.

The picture shows the ports and the times of this run, so take it with default ports on a machine at rest.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

HERE = Path(__file__).resolve().parent
# Colours as on a terminal, but no animation: the last state of each table is what is drawn.
AS_ON_A_TERMINAL = {"TERM": "xterm-256color", "FORCE_COLOR": "1", "TTY_INTERACTIVE": "0", "COLUMNS": "140"}


def main() -> None:
    """Write up.svg beside this file."""
    os.environ.update(AS_ON_A_TERMINAL)
    up = subprocess.run(
        [sys.executable, "-m", "invoke", "up"],
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    shown = Text.from_ansi("$ invoke up\n" + up.stdout)
    width = max(line.cell_len for line in shown.split())
    console = Console(record=True, file=StringIO(), width=width, color_system="truecolor", force_terminal=True)
    console.print(shown, soft_wrap=True)
    svg = console.export_svg(title="Network Monitor", theme=DIMMED_MONOKAI, unique_id="up")
    # No font from elsewhere: a picture in a repository loads nothing.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code, ", "")
    (HERE / "up.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
