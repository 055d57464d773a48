"""Applying a mutation to a copy of the repository, and expecting its problem."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.toolkit.validate.mutations import Mutation
from toolkit.validate.findings import Finding
from toolkit.validate.programs import Skipped


@contextmanager
def seeded(root: Path, mutation: Mutation) -> Iterator[None]:
    """Apply the mutation for the duration of the block."""
    path = root / mutation.file
    before = path.read_text(encoding="utf-8")
    after = before.replace(mutation.old, mutation.new, 1)
    assert after != before, f"{mutation.file} has no {mutation.old!r}: the mutation does not apply"
    path.write_text(after, encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(before, encoding="utf-8")


def expect(found: Iterable[Finding | Skipped], root: Path, mutation: Mutation) -> None:
    """Expect the mutation's problem at its line among the findings; stop reading them there."""
    reported = []
    for problem in (each for each in found if isinstance(each, Finding) and each.problem):
        reported.append(str(problem))
        if mutation.problem in problem.problem:
            reported.append((root / problem.file).read_text(encoding="utf-8").splitlines()[problem.line - 1])
            if mutation.at in reported[-1]:
                return
    pytest.fail(f"{mutation.problem!r} is not found at {mutation.at!r}; reported: {reported}")
