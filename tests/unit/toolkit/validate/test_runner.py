"""How checks are run, what is printed, and what counts as a failure."""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.live import workflow
from tests.unit.toolkit.validate.conftest import ROOT
from tests.unit.toolkit.validate.mutations import MUTATIONS
from tests.unit.toolkit.validate.seeding import seeded
from toolkit.checkout.project import PULLED
from toolkit.engine import compose
from toolkit.engine.compose import Result
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
        self.missing = "Error: No such image: x"
        self.started: list[list[str]] = []
        self.run = compose.run

    def __call__(self, argv: Sequence[str], **options: Any) -> Result:
        match list(argv[1:3]):
            case ["image", "inspect"]:
                return Result(0 if self.images else 1, "[]", self.missing)
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
    assert main(["--root", str(clone), "--allow-skips", programs.GRAMMARS]) == 0
    skipped, summary = capsys.readouterr().out.splitlines()
    assert skipped.startswith(f"skipped {programs.GRAMMARS}: ")
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


def words(command: str) -> list[str]:
    """The arguments of a command that `nox` hands on."""
    return shlex.split(command)[shlex.split(command).index("--") + 1 :]


def without_images() -> dict[str, list[str]]:
    """How the validator is called where no image is, by who calls it there."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    scripts = [job.scripts[-1] for job in workflow.jobs((ROOT / workflow.PATH).read_text()) if "validate" in job.name]
    return {
        "CI": words(next(script for script in scripts if script.startswith("nox "))),
        "pre-commit": words(next(hook["entry"] for hook in hooks if hook["id"] == "validate")),
    }


EVERY_PROGRAM = {program.name for program in programs.PROGRAMS}


@pytest.mark.usefixtures("_one_check")
@pytest.mark.parametrize("engine", [{"images": False}], indirect=True)
@pytest.mark.parametrize("caller", ["CI", "pre-commit"])
def test_whoever_has_no_images_allows_every_program_to_be_skipped(
    clone: Path, engine: Engine, caller: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they call it, and as the session `validate` does, which installs the grammars."""
    monkeypatch.setattr(grammars, "queries", images.registry)
    assert main(["--root", str(clone), *without_images()[caller]]) == 0
    assert skipped(capsys.readouterr().out) == dict.fromkeys(EVERY_PROGRAM, True), "each is named"
    assert not engine.started


@pytest.mark.usefixtures("_one_check")
@pytest.mark.parametrize("options", [[], ["--allow-skips=grammars"], ["--allow-skips=absent,grammars"]], ids=str)
@pytest.mark.parametrize("engine", [{"images": False}], indirect=True)
def test_a_skip_must_be_allowed(
    clone: Path, engine: Engine, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--root", str(clone), *options]) == 1
    found = skipped(capsys.readouterr().out)
    assert found == dict.fromkeys(EVERY_PROGRAM, False) | {programs.GRAMMARS: bool(options)}
    assert not engine.started


@pytest.mark.usefixtures("_one_check")
@pytest.mark.parametrize("engine", [{"images": False}], indirect=True)
def test_an_engine_that_does_not_answer_is_no_missing_image(
    clone: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.missing = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock."
    assert main(["--root", str(clone), f"--allow-skips={','.join(programs.REASONS)}"]) == 1
    said = capsys.readouterr().out
    assert skipped(said) == dict.fromkeys(EVERY_PROGRAM, False) | {programs.GRAMMARS: True}
    assert "Cannot connect" in said


@pytest.mark.usefixtures("_one_check")
@pytest.mark.parametrize("engine", [{"images": True}], indirect=True)
def test_what_the_local_images_lack_is_skipped_for_that(
    clone: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    (clone / ".env").write_text("NETMON_IMAGES=local\n")
    try:
        assert main(["--root", str(clone), "--allow-skips=images,grammars"]) == 1
        lacking = {name for name, allowed in skipped(capsys.readouterr().out).items() if not allowed}
        assert lacking
        assert main(["--root", str(clone), "--allow-skips=absent,grammars"]) == 0
    finally:
        (clone / ".env").unlink()
    assert len(engine.started) == 2 * (len(EVERY_PROGRAM) - len(lacking))


def skipped(said: str) -> dict[str, bool]:
    """What was skipped, and whether that was allowed."""
    lines = re.findall(r"^skipped (\(not allowed\) )?([\w-]+): ", said, re.MULTILINE)
    return {name: not refused for refused, name in lines}


@pytest.mark.parametrize(
    "file",
    [".github/workflows/ci.yml", ".pre-commit-config.yaml", "scripts/test.sh", "docs/operations.md", "CONTRIBUTING.md"],
)
def test_whoever_allows_skips_names_reasons(file: str) -> None:
    named = re.findall(r"--allow-skips[ =]([\w,-]+)", (ROOT / file).read_text(encoding="utf-8"))
    assert named
    assert {reason for words in named for reason in words.split(",")} <= programs.REASONS.keys()


def test_an_unknown_skip_is_refused(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--root", str(clone), "--allow-skips", "promtol"])
    assert "known: images, absent, grammars" in capsys.readouterr().err


@pytest.mark.parametrize(
    "engine",
    [{"images": True, "code": 1, "said": "FAILED: parsing YAML file /etc/prometheus/prometheus.yml: line 7: no"}],
    indirect=True,
)
def test_what_a_program_refuses_is_found_in_the_repository(clone: Path, engine: Engine) -> None:
    (found,) = programs.validate(Checkout(clone), programs.PROGRAMS[0])
    assert isinstance(found, Finding)
    assert (found.file, found.line) == ("monitoring/prometheus/prometheus.yml", 7)


def test_a_program_is_run_from_the_mirror_that_the_settings_name(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_QUAY", "mirror.example:5001")
    (clone / ".env").write_text("REGISTRY=mirror.example:5000\nREGISTRY_QUAY=elsewhere\n")
    engine = Engine(images=True)
    monkeypatch.setattr(compose, "run", engine)
    try:
        checkout = Checkout(clone)
        list(programs.validate(checkout, programs.PROGRAMS[0]))
        services = checkout.configuration(checkout.files("dev", PULLED, EVERY_GROUP), EVERY_GROUP).services
    finally:
        (clone / ".env").unlink()
    [started] = engine.started
    assert any(word.startswith("mirror.example:5000/prom/prometheus:") for word in started)
    assert services["postgres-exporter"]["image"].startswith("mirror.example:5001/")


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
