"""Text as it looks in a terminal, as an SVG that loads nothing."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

TITLE = "Network Monitor"


def draw(shown: Text, path: Path, width: int | None = None) -> None:
    """Write the picture of a terminal that shows the text.

    Args:
        shown: The text; lines longer than ``width`` are wrapped.
        path: The SVG file; its name is the prefix of the ids in it.
        width: Columns of the terminal; by default those of the longest line.
    """
    columns = width or max(line.cell_len for line in shown.split())
    console = Console(record=True, file=StringIO(), width=columns, color_system="truecolor", force_terminal=True)
    console.print(shown, soft_wrap=width is None)
    svg = console.export_svg(title=TITLE, theme=DIMMED_MONOKAI, unique_id=path.stem)
    # A picture in a repository loads no font.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code, ", "")
    path.write_text(svg, encoding="utf-8")
