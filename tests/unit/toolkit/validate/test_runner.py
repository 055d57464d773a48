"""The runner of the checks: its output, its skips and its exit code."""

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
from toolkit.validate import grammars, images, layers, programs, schema
from toolkit.validate.__main__ import main
from toolkit.validate.checkout import EVERY_GROUP, Checkout
from toolkit.validate.findings import Finding
from toolkit.validate.runner import run
from toolkit.validate.source import Source

pytestmark = pytest.mark.slow

MISTAKE = next(mutation for mutation in MUTATIONS if mutation.check == "images.registry")


class Engine:
    """A fake engine with or without images, and with one result of validators; Compose itself is real."""

    def __init__(self, *, images: bool, code: int = 0, stderr: str = "") -> None:
        self.images, self.code, self.stderr = images, code, stderr
        self.missing = "Error: No such image: x"
        self.started: list[list[str]] = []
        self.run = compose.run

    def __call__(self, argv: Sequence[str], **options: Any) -> Result:
        match list(argv[1:3]):
            case ["image", "inspect"]:
                return Result(0 if self.images else 1, "[]", self.missing)
            case ["run", _]:
                self.started.append(list(argv))
                return Result(self.code, "", self.stderr)
        return self.run(argv, **options)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Engine:
    engine = Engine(**request.param)
    monkeypatch.setattr(compose, "run", engine)
    return engine


@pytest.fixture
def _one_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run only the check that reports the mutation."""
    monkeypatch.setattr(entry, "CHECKS", (images.registry,))


def test_check_without_findings_is_a_problem(clone: Path) -> None:
    def idle(_checkout: Checkout) -> Iterator[Finding]:
        return iter(())

    report = run(Checkout(clone), [idle])
    assert [finding.problem for finding in report.problems] == ["the check inspected nothing"]


def test_schema_reports_values_that_compose_accepts(clone: Path) -> None:
    checkout = Checkout(clone)
    config = copy.deepcopy(checkout.full_configurations[0].config)
    config["services"]["redis"]["healthcheck"]["retries"] = ["often"]
    checkout.full_configurations = [replace(checkout.full_configurations[0], config=config)]
    finding = next(each for each in run(checkout, [layers.schema]).problems if "['often']" in each.problem)
    assert finding.file == "docker-compose.yml"
    assert "retries" in (clone / finding.file).read_text().splitlines()[finding.line - 1]


@pytest.mark.parametrize("engine", [{"images": True}], indirect=True)
def test_clean_repository_exits_with_0(clone: Path, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(clone), "--allow-skips", programs.GRAMMARS]) == 0
    first, second, summary = capsys.readouterr().out.splitlines()
    assert first.startswith(f"skipped {programs.GRAMMARS}: ")
    assert second.startswith(f"skipped {schema.NAME}: ")
    assert re.fullmatch(r"\d+ checks, \d+ files, no problems, 2 skipped", summary)
    assert len(engine.started) == len(programs.PROGRAMS)
    assert all("none" in argv[argv.index("--network") + 1] for argv in engine.started)


@pytest.mark.usefixtures("_one_check")
@pytest.mark.parametrize("engine", [{"images": True}], indirect=True)
def test_problem_is_printed_with_file_and_line(clone: Path, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    with seeded(clone, MISTAKE):
        assert main(["--root", str(clone)]) == 1
        text = (clone / MISTAKE.file).read_text()
    line = text[: text.index(MISTAKE.new)].count("\n") + 1
    problem, *_, summary = capsys.readouterr().out.splitlines()
    assert problem.startswith(f"{MISTAKE.file}:{line}: ")
    assert problem.endswith(f"[{MISTAKE.check}]")
    assert ", 1 problem, " in summary


def session_arguments(command: str) -> list[str]:
    """The arguments that `nox` passes to the session."""
    return shlex.split(command)[shlex.split(command).index("--") + 1 :]


def without_images() -> dict[str, list[str]]:
    """The validator's arguments in callers without images, by caller."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    scripts = [job.scripts[-1] for job in workflow.jobs((ROOT / workflow.PATH).read_text()) if "validate" in job.name]
    return {
        "CI": session_arguments(next(script for script in scripts if script.startswith("nox "))),
        "pre-commit": session_arguments(next(hook["entry"] for hook in hooks if hook["id"] == "validate")),
    }


EVERY_PROGRAM = {program.name for program in programs.PROGRAMS}
NPM = (programs.GRAMMARS, schema.NAME)
"""The checks with npm packages."""


@pytest.mark.usefixtures("_one_check")
@pytest.mark.parametrize("engine", [{"images": False}], indirect=True)
@pytest.mark.parametrize("caller", ["CI", "pre-commit"])
def test_callers_without_images_allow_every_program_to_be_skipped(
    clone: Path, engine: Engine, caller: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the npm packages, which the session `validate` installs."""
    monkeypatch.setattr(grammars, "queries", images.registry)
    monkeypatch.setattr(schema, "dashboards", images.registry)
    assert main(["--root", str(clone), *without_images()[caller]]) == 0
    assert skipped(capsys.readouterr().out) == dict.fromkeys(EVERY_PROGRAM, True), "every skipped program is printed"
    assert not engine.started


@pytest.mark.usefixtures("_one_check")
@pytest.mark.parametrize("options", [[], ["--allow-skips=grammars"], ["--allow-skips=absent,grammars"]], ids=str)
@pytest.mark.parametrize("engine", [{"images": False}], indirect=True)
def test_skip_without_permission_fails(
    clone: Path, engine: Engine, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--root", str(clone), *options]) == 1
    found = skipped(capsys.readouterr().out)
    assert found == dict.fromkeys(EVERY_PROGRAM, False) | dict.fromkeys(NPM, bool(options))
    assert not engine.started


@pytest.mark.usefixtures("_one_check")
@pytest.mark.parametrize("engine", [{"images": False}], indirect=True)
def test_unreachable_engine_is_not_a_missing_image(
    clone: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.missing = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock."
    assert main(["--root", str(clone), f"--allow-skips={','.join(programs.REASONS)}"]) == 1
    output = capsys.readouterr().out
    assert skipped(output) == dict.fromkeys(EVERY_PROGRAM, False) | dict.fromkeys(NPM, True)
    assert "Cannot connect" in output


@pytest.mark.usefixtures("_one_check")
@pytest.mark.parametrize("engine", [{"images": True}], indirect=True)
def test_services_without_a_local_image_are_skipped_as_absent(
    clone: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    (clone / ".env").write_text("NETMON_IMAGES=local\n")
    try:
        assert main(["--root", str(clone), "--allow-skips=images,grammars"]) == 1
        missing = {name for name, allowed in skipped(capsys.readouterr().out).items() if not allowed}
        assert missing
        assert main(["--root", str(clone), "--allow-skips=absent,grammars"]) == 0
    finally:
        (clone / ".env").unlink()
    assert len(engine.started) == 2 * (len(EVERY_PROGRAM) - len(missing))


class OwnImages(Engine):
    """An engine without the images of services that a checkout for development does not use."""

    unused: tuple[str, ...] = ()

    def __call__(self, argv: Sequence[str], **options: Any) -> Result:
        self.images = not any(name in argv[-1] for name in self.unused)
        return super().__call__(argv, **options)


@pytest.mark.usefixtures("_one_check")
@pytest.mark.parametrize(("images", "unused"), [("local", ("caddy",)), ("pulled", ("caddy", "jaeger"))])
def test_documented_command_passes_in_a_checkout_for_development(
    clone: Path,
    images: str,
    unused: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = OwnImages(images=True)
    engine.unused = unused
    monkeypatch.setattr(compose, "run", engine)
    documented = next(
        session_arguments(line.partition("#")[0])
        for line in (ROOT / "docs/operations.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("nox -s validate -- ")
    )
    (clone / ".env").write_text(f"NETMON_IMAGES={images}\nNETMON_PROFILE=dev\nCOMPOSE_PROFILES=monitoring\n")
    try:
        assert main(["--root", str(clone), "--allow-skips=absent,grammars"]) == 1
        output = capsys.readouterr().out
        assert {name for name, allowed in skipped(output).items() if not allowed} == {*unused}
        fix = "fix: run: invoke images.prepare --every-group --profile=prod, or allow it: --allow-skips unused\n"
        assert f"caddy: this checkout does not use proxy, and its image is not on this machine\n  {fix}" in output
        for permitted in ("absent,unused", "images,absent"):
            assert main(["--root", str(clone), f"--allow-skips={permitted},grammars"]) == 0
        assert documented == ["--allow-skips", "absent,unused"]
        (clone / ".env").write_text(f"NETMON_IMAGES={images}\nNETMON_PROFILE=prod\nCOMPOSE_PROFILES=monitoring\n")
        assert main(["--root", str(clone), "--allow-skips=absent,unused,grammars"]) == 1
        assert not skipped(capsys.readouterr().out)["caddy"], "the profile uses it"
    finally:
        (clone / ".env").unlink()


def skipped(output: str) -> dict[str, bool]:
    """The skipped programs, and whether the skip was allowed."""
    lines = re.findall(r"^skipped (\(not allowed\) )?([\w-]+): ", output, re.MULTILINE)
    return {name: not refused for refused, name in lines}


@pytest.mark.parametrize(
    "file",
    [".github/workflows/ci.yml", ".pre-commit-config.yaml", "scripts/test.sh", "docs/operations.md", "CONTRIBUTING.md"],
)
def test_allowed_skips_are_known_reasons(file: str) -> None:
    named = re.findall(r"--allow-skips[ =]([\w,-]+)", (ROOT / file).read_text(encoding="utf-8"))
    assert named
    assert {reason for words in named for reason in words.split(",")} <= programs.REASONS.keys()


def test_unknown_reason_for_a_skip_is_refused(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--root", str(clone), "--allow-skips", "promtol"])
    assert "known: images, unused, absent, grammars" in capsys.readouterr().err


@pytest.mark.parametrize(
    "engine",
    [{"images": True, "code": 1, "stderr": "FAILED: parsing YAML file /etc/prometheus/prometheus.yml: line 7: no"}],
    indirect=True,
)
def test_file_that_a_program_refuses_is_reported_at_its_line(clone: Path, engine: Engine) -> None:
    (found,) = programs.validate(Checkout(clone), programs.PROGRAMS[0])
    assert isinstance(found, Finding)
    assert (found.file, found.line) == ("monitoring/prometheus/prometheus.yml", 7)


def test_program_runs_in_the_image_of_the_configured_mirror(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_compose_runs_without_the_users_variables(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_PORT", "1")
    monkeypatch.setenv("REDIS_PASSWORD", "mine")
    (clone / ".env").write_text("KAFKA_PORT=2\nCOMPOSE_PROJECT_NAME=other\n")
    try:
        checkout = Checkout(clone)
        (config,) = (
            each for each in checkout.full_configurations if each.files == checkout.files("dev", PULLED, EVERY_GROUP)
        )
    finally:
        (clone / ".env").unlink()
    ports = {port["published"] for service in config.services.values() for port in service.get("ports", [])}
    assert not ports & {"1", "2"}
    assert config.config["name"] == "network-monitor"
    assert "mine" not in str(config.config)


def test_positions_follow_merge_keys_and_compose_tags(tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text(
        "x-one: &one\n  a: 1\nx-two: &two\n  b: 2\nservices:\n  s:\n    <<: [*one, *two]\n    c: !reset null\n"
        "    d: !override [7, {e: 8}]\n"
    )
    source = Source(tmp_path, "x.yml")
    expected: Mapping[tuple[str | int, ...], int] = {
        ("a",): 2, ("b",): 4, ("c",): 8, ("d", 1, "e"): 9, ("missing",): 6
    }  # fmt: skip
    for keys, line in expected.items():
        assert source.find("services", "s", *keys)[1] == line, keys
    assert source.data["services"]["s"] == {"a": 1, "b": 2, "c": None, "d": [7, {"e": 8}]}
