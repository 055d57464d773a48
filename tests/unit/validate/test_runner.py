"""How checks are run, what is printed, and what counts as a failure."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.validate.mutations import MUTATIONS
from tests.unit.validate.seeding import seeded
from toolkit import compose
from toolkit.compose import Result
from toolkit.project import PULLED
from toolkit.validate import __main__ as entry
from toolkit.validate import grammars, images, layers, programs
from toolkit.validate.__main__ import main
from toolkit.validate.checkout import EVERY_GROUP, Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.runner import run
from toolkit.validate.source import Source

MISTAKE = next(mutation for mutation in MUTATIONS if mutation.check == "images.registry")


class Engine:
    """Stands in for the engine: which images it has, and what a validator says; Compose itself runs."""

    def __init__(self, *, images: bool, code: int = 0, said: str = "") -> None:
        self.images, self.code, self.said = images, code, said
        self.started: list[list[str]] = []
        self.run = compose.run

    def __call__(self, argv: Sequence[str], **options: Any) -> Result:
        match list(argv[1:3]):
            case ["image", "inspect"]:
                return Result(0 if self.images else 1, "[]", "Error: No such image: x")
            case ["run", _]:
                self.started.append(list(argv))
                return Result(self.code, "", self.said)
        return self.run(argv, **options)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Engine:
    engine = Engine(**request.param)
    monkeypatch.setattr(compose, "run", engine)
    return engine


@pytest.fixture
def _one_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that sees the mistake; that all of them run is another test's matter."""
    monkeypatch.setattr(entry, "CHECKS", (images.registry,))


def test_a_check_that_looks_at_nothing_is_a_problem(clone: Path) -> None:
    def idle(_checkout: Checkout) -> Iterator[Finding]:
        return iter(())

    report = run(Checkout(clone), [idle])
    assert [finding.problem for finding in report.problems] == ["there was nothing to check"]


def test_schema_sees_what_compose_would_let_through(clone: Path) -> None:
    checkout = Checkout(clone)
    config = copy.deepcopy(checkout.whole[0].config)
    config["services"]["redis"]["healthcheck"]["retries"] = ["often"]
    checkout.whole = [replace(checkout.whole[0], config=config)]
    finding = next(each for each in run(checkout, [layers.schema]).problems if "['often']" in each.problem)
    assert finding.file == "docker-compose.yml"
    assert "retries" in (clone / finding.file).read_text().splitlines()[finding.line - 1]


@pytest.mark.parametrize("engine", [{"images": True}], indirect=True)
def test_all_is_well(clone: Path, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(clone), "--allow-skips", grammars.NAME]) == 0
    skipped, summary = capsys.readouterr().out.splitlines()
    assert skipped.startswith(f"skipped {grammars.NAME}: ")
    assert re.fullmatch(r"\d+ checks, \d+ files, no problems, 1 skipped", summary)
    assert len(engine.started) == len(programs.PROGRAMS)
    assert all("none" in argv[argv.index("--network") + 1] for argv in engine.started)


@pytest.mark.usefixtures("_one_check")
@pytest.mark.parametrize("engine", [{"images": True}], indirect=True)
def test_a_problem_is_named_by_file_and_line(clone: Path, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    with seeded(clone, MISTAKE):
        assert main(["--root", str(clone)]) == 1
        text = (clone / MISTAKE.file).read_text()
    line = text[: text.index(MISTAKE.new)].count("\n") + 1
    problem, _, summary = capsys.readouterr().out.splitlines()
    assert problem.startswith(f"{MISTAKE.file}:{line}: ")
    assert problem.endswith(f"[{MISTAKE.check}]")
    assert ", 1 problem, " in summary


@pytest.mark.usefixtures("_one_check")
@pytest.mark.parametrize(
    ("options", "code"),
    [([], 1), (["--allow-skips", "amtool-config"], 1),
     (["--allow-skips", ",".join([grammars.NAME, *(program.name for program in programs.PROGRAMS)])], 0)],
)  # fmt: skip
@pytest.mark.parametrize("engine", [{"images": False}], indirect=True)
def test_a_skip_must_be_allowed(
    clone: Path, engine: Engine, options: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--root", str(clone), *options]) == code
    said = capsys.readouterr().out
    skipped = set(re.findall(r"^skipped (?:\(not allowed\) )?([\w-]+): ", said, re.MULTILINE))
    assert skipped == {grammars.NAME, *(program.name for program in programs.PROGRAMS)}
    assert ("not allowed" in said) is (code == 1)
    assert not engine.started


def test_an_unknown_skip_is_refused(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--root", str(clone), "--allow-skips", "promtol"])
    assert "known: grammars, promtool-config" in capsys.readouterr().err


@pytest.mark.parametrize(
    "engine",
    [{"images": True, "code": 1, "said": "FAILED: parsing YAML file /etc/prometheus/prometheus.yml: line 7: no"}],
    indirect=True,
)
def test_what_a_program_refuses_is_found_in_the_repository(clone: Path, engine: Engine) -> None:
    (found,) = programs.validate(Checkout(clone), programs.PROGRAMS[0])
    assert isinstance(found, Finding)
    assert (found.file, found.line) == ("monitoring/prometheus/prometheus.yml", 7)


def test_compose_is_asked_without_the_users_variables(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_PORT", "1")
    monkeypatch.setenv("REDIS_PASSWORD", "mine")
    (clone / ".env").write_text("KAFKA_PORT=2\nCOMPOSE_PROJECT_NAME=other\n")
    try:
        checkout = Checkout(clone)
        (config,) = (each for each in checkout.whole if each.files == checkout.files("dev", PULLED, EVERY_GROUP))
    finally:
        (clone / ".env").unlink()
    ports = {port["published"] for service in config.services.values() for port in service.get("ports", [])}
    assert not ports & {"1", "2"}
    assert config.config["name"] == "network-monitor"
    assert "mine" not in str(config.config)


def test_positions_follow_merge_keys_and_composes_own_tags(tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text(
        "x-one: &one\n  a: 1\nx-two: &two\n  b: 2\nservices:\n  s:\n    <<: [*one, *two]\n    c: !reset null\n"
        "    d: !override [7, {e: 8}]\n"
    )
    source = Source(tmp_path, "x.yml")
    where: Mapping[tuple[str | int, ...], int] = {
        ("a",): 2, ("b",): 4, ("c",): 8, ("d", 1, "e"): 9, ("missing",): 6
    }  # fmt: skip
    for keys, line in where.items():
        assert source.find("services", "s", *keys)[1] == line, keys
    assert source.data["services"]["s"] == {"a": 1, "b": 2, "c": None, "d": [7, {"e": 8}]}
