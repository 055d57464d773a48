"""Entry point: ``python -m toolkit.validate [--allow-skips REASON,…]``, exit code 1 on any problem."""

from __future__ import annotations

import argparse
from pathlib import Path

from toolkit.core import terminal
from toolkit.validate import grammars, schema
from toolkit.validate.checkout import Checkout
from toolkit.validate.programs import IMAGES, PROGRAMS, REASONS, UNUSED, Skipped
from toolkit.validate.runner import CHECKS, run


def main(arguments: list[str] | None = None) -> int:
    """Validate this checkout and print every problem as ``file:line: message``.

    Skipped programs are printed by name and fail the run unless their reason is allowed.

    Raises:
        ToolkitError: the checkout cannot be read.
    """
    parser = argparse.ArgumentParser(prog="python -m toolkit.validate", description="Check the files of this checkout.")
    reasons = "; ".join(f"{reason}: {why}" for reason, why in REASONS.items())
    parser.add_argument(
        "--allow-skips", metavar="REASON,…", default="", help=f"reasons for which a program may be skipped ({reasons})"
    )
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[2], help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    allowed = set(filter(None, options.allow_skips.split(",")))
    if unknown := allowed - REASONS.keys():
        parser.error(f"unknown reason: {', '.join(sorted(unknown))}; known: {', '.join(REASONS)}")
    if IMAGES in allowed:
        allowed.add(UNUSED)
    report = run(Checkout(options.root.resolve()), (*CHECKS, grammars.queries, schema.dashboards), PROGRAMS)
    for problem in sorted(report.problems):
        print(f"{problem} [{report.problems[problem]}]")
    refused = [skip for skip in report.skipped if skip.reason not in allowed]
    for skip in report.skipped:
        print(f"skipped {'(not allowed) ' if skip in refused else ''}{skip.name}: {skip.why}")
        if skip in refused and (fix := _fix(skip)):
            print(f"  fix: {fix}")
    counts = f"{len(report.problems) or 'no'} problem{'' if len(report.problems) == 1 else 's'}"
    print(f"{report.checks} checks, {len(report.files)} files, {counts}, {len(report.skipped)} skipped")
    return 1 if report.problems or refused else 0


def _fix(skip: Skipped) -> str:
    return ", or ".join(filter(None, (skip.fix, skip.reason and f"allow it: --allow-skips {skip.reason}")))


if __name__ == "__main__":
    terminal.run(main)
