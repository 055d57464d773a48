"""Making a mistake in a copy of the repository, and asking for its discovery."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.unit.validate.mutations import Mutation
from toolkit.validate.runner import Report


@contextmanager
def seeded(root: Path, mutation: Mutation) -> Iterator[None]:
    """The mistake is in the files while the block runs."""
    path = root / mutation.file
    before = path.read_text(encoding="utf-8")
    after = before.replace(mutation.old, mutation.new, 1)
    assert after != before, f"{mutation.file} has no {mutation.old!r}: the mistake is not made"
    path.write_text(after, encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(before, encoding="utf-8")


def expect(report: Report, root: Path, mutation: Mutation) -> None:
    """The report has a problem of the mutation's check with its words, at a line that is about it."""
    said = {str(problem): check for problem, check in report.problems.items()}
    found = [
        problem
        for problem, check in report.problems.items()
        if check == mutation.check and mutation.says in problem.problem
    ]
    assert found, f"not found; reported: {said}"
    lines = [(root / each.file).read_text(encoding="utf-8").splitlines()[each.line - 1] for each in found]
    assert any(mutation.at in line for line in lines), f"found, but at {lines}: {said}"
