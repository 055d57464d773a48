"""Making a mistake in a copy of the repository, and asking for its discovery."""

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


def expect(found: Iterable[Finding | Skipped], root: Path, mutation: Mutation) -> None:
    """Among what is found is a problem with the mutation's words, at a line that is about it; no more is asked for."""
    said = []
    for problem in (each for each in found if isinstance(each, Finding) and each.problem):
        said.append(str(problem))
        if mutation.says in problem.problem:
            said.append((root / problem.file).read_text(encoding="utf-8").splitlines()[problem.line - 1])
            if mutation.at in said[-1]:
                return
    pytest.fail(f"{mutation.says!r} is not found at {mutation.at!r}; reported: {said}")
