"""Checks of image contracts that no text mutation covers."""

from __future__ import annotations

from pathlib import Path

from tests.unit.toolkit.validate.composing import LazyCheckout
from tests.unit.toolkit.validate.mutations import Mutation
from tests.unit.toolkit.validate.seeding import seeded
from toolkit.validate import contracts, dockerfiles
from toolkit.validate.runner import run

REDIS = "images/redis/contract.yml"


def test_script_without_execute_permission_is_a_problem(clone: Path) -> None:
    path = clone / "scripts/container/redis-entrypoint.sh"
    mode = path.stat().st_mode
    path.chmod(0o644)
    try:
        report = run(LazyCheckout(clone), [contracts.programs])
    finally:
        path.chmod(mode)
    assert [problem.problem for problem in report.problems] == ["is not executable, and redis starts it"]


def test_unreadable_contract_is_reported_by_file(clone: Path) -> None:
    with seeded(clone, Mutation("", "", REDIS, "services: [redis]", "services:", "")):
        for check in (contracts.arguments, dockerfiles.contract):
            (problem,) = run(LazyCheckout(clone), [check]).problems
            assert (problem.file, problem.problem) == (
                REDIS, "is not a contract: it does not have the format described in images/README.md",
            )  # fmt: skip


def test_last_stage_returns_its_instructions_with_lines() -> None:
    text = (
        "FROM a AS b\nUSER 1\nFROM b\nENV A=1 \\\n    B='2 3'\nEXPOSE 1 2/udp\nCOPY . .\n"
        'ENTRYPOINT ["/x", "y z"]\nVOLUME /data\n'
    )
    assert [(each.name, each.words, each.line) for each in dockerfiles.last_stage(text)] == [
        ("ENV", ("A=1", "B=2 3"), 4),
        ("EXPOSE", ("1", "2/udp"), 6),
        ("ENTRYPOINT", ("/x", "y z"), 8),
        ("VOLUME", ("/data",), 9),
    ]
