"""Entry point: ``python -m toolkit.validate [--allow-skips REASON,…]``, exit code 1 where something is wrong."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from toolkit.core.errors import ToolkitError
from toolkit.validate import grammars
from toolkit.validate.checkout import Checkout
from toolkit.validate.programs import PROGRAMS, REASONS
from toolkit.validate.runner import CHECKS, run


def main(arguments: list[str] | None = None) -> int:
    """Validate this checkout and print every problem as ``file:line: message``.

    What is skipped is printed by name, and fails unless its reason is allowed: which programs there are is said in one
    place, `PROGRAMS`, and in no list of exceptions.
    """
    parser = argparse.ArgumentParser(prog="python -m toolkit.validate", description="Check the files of this checkout.")
    known = "; ".join(f"{reason}: {why}" for reason, why in REASONS.items())
    parser.add_argument("--allow-skips", metavar="REASON,…", default="", help=f"why a program need not run ({known})")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[2], help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    allowed = set(filter(None, options.allow_skips.split(",")))
    if unknown := allowed - REASONS.keys():
        parser.error(f"unknown {', '.join(sorted(unknown))}; known: {', '.join(REASONS)}")
    try:
        report = run(Checkout(options.root.resolve()), (*CHECKS, grammars.queries), PROGRAMS)
    except ToolkitError as error:
        print(error.message, file=sys.stderr)
        return 1
    for problem in sorted(report.problems):
        print(f"{problem} [{report.problems[problem]}]")
    for skip in report.skipped:
        print(f"skipped {'' if skip.reason in allowed else '(not allowed) '}{skip.name}: {skip.why}")
    refused = [skip for skip in report.skipped if skip.reason not in allowed]
    counts = f"{len(report.problems) or 'no'} problem{'' if len(report.problems) == 1 else 's'}"
    print(f"{report.checks} checks, {len(report.files)} files, {counts}, {len(report.skipped)} skipped")
    return 1 if report.problems or refused else 0


if __name__ == "__main__":
    sys.exit(main())
