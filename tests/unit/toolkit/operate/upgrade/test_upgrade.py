"""The steps of an upgrade, and the way back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.toolkit.conftest import INFO, FakeDocker, configuration
from toolkit import images
from toolkit.checkout.project import Project
from toolkit.checkout.upgrade_record import Record, Upgrade
from toolkit.checks import doctor
from toolkit.core import files
from toolkit.core.errors import ToolkitError
from toolkit.engine import health
from toolkit.engine.existing import Existing
from toolkit.operate import deploy, lifecycle, live_revision, revision, rolling, silences
from toolkit.operate.deploy.release import Release
from toolkit.operate.revision import Revision
from toolkit.operate.upgrade import finalize
from toolkit.operate.upgrade import plan as plans
from toolkit.operate.upgrade import upgrade as upgrades
from toolkit.operate.upgrade.plan import NEW, REMOVED, Change, Plan

ONE, TWO = Revision("1" * 40, "v1"), Revision("2" * 40, "v2")
RELEASE = frozenset({"app", "worker"})
CHANGES = Plan(
    (Change("db", "its settings", "postgres:18.6"), Change("cache", NEW), Change("app", "its code"),
     Change("old", REMOVED)),
    ("0099_new.sql",),
    RELEASE,
)  # fmt: skip
RUNNING = {"db": "postgres:18.6", "app": "network-monitor:1"}


class Stack:
    """A stack in production whose steps are recorded; ``fails`` is the step that fails."""

    def __init__(self, project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project, self.docker = project, docker
        self.steps: list[str] = []
        self.fails: dict[str, BaseException] = {}
        self.at, self.plan, self.running = TWO, CHANGES, dict(RUNNING)
        self.known: list[frozenset[str] | None] = []
        services = {"db": {"image": "postgres:18.6"}, "app": {"image": "network-monitor:1", "depends_on": {"db": {}}}}
        docker.on("compose", "config", stdout=configuration(**services))
        docker.on("info", stdout=INFO)
        files.make_folder(project.lock_file.parent)
        project.env_file.write_text("NETMON_PROFILE=prod\nNETMON_RELEASE=former\nBACKUP_TARGET=/mnt\n")

        def step(name: str, result: Any = None) -> Callable[..., Any]:
            def run(*args: Any, **options: Any) -> Any:
                shown = [name, *(each for each in args if isinstance(each, str))]
                if options.get("name"):
                    shown.append(options["name"])
                self.steps.append(" ".join(shown))
                if name in self.fails:
                    raise self.fails[name]
                return result

            return run

        def make(*args: Any) -> Plan:
            self.known.append(args[2])
            return self.plan

        def reach(*_: Any) -> None:
            self.steps.append("up")
            live_revision.reached(project, self.at)

        monkeypatch.setattr(doctor, "require_engine", step("engine"))
        monkeypatch.setattr(upgrades, "setup", step("setup", []))
        monkeypatch.setattr(revision, "read", lambda _: self.at)
        monkeypatch.setattr(revision, "name", lambda _, commit: f"v{commit[0]}")
        monkeypatch.setattr(revision, "differing", lambda _, one, other: frozenset({f"{one[0]}-{other[0]}"}))
        monkeypatch.setattr(revision, "switch", step("switch"))
        monkeypatch.setattr(Existing, "read", staticmethod(lambda project, *_: Existing(project, "netmon", ())))
        monkeypatch.setattr(upgrades, "_running", lambda _: self.running)
        monkeypatch.setattr(upgrades, "_retained", lambda *_: None)
        monkeypatch.setattr(plans, "make", make)
        monkeypatch.setattr(health, "container_states", lambda *_: [])
        monkeypatch.setattr(upgrades, "backup", step("backup"))
        monkeypatch.setattr(images, "provide", step("images"))
        monkeypatch.setattr(Release, "plan", lambda *_: SimpleNamespace(settings={}, provide=lambda *_: None))
        monkeypatch.setattr(deploy, "recover", step("recover"))
        monkeypatch.setattr(silences, "begin", step("silence"))
        monkeypatch.setattr(silences, "end", step("end"))
        monkeypatch.setattr(rolling, "recreate", step("recreate"))
        monkeypatch.setattr(deploy, "deploy", step("deploy"))
        monkeypatch.setattr(lifecycle, "up", reach)
        monkeypatch.setattr(finalize, "note", lambda *_: None)
        monkeypatch.setattr(os, "execv", step("exec"))

    def upgrade(self, *, dry_run: bool = False, yes: bool = True) -> None:
        """Upgrade, with the steps recorded from now on."""
        self.steps.clear()
        upgrades.upgrade(self.project, self.docker.cli, upgrades.Options(1, dry_run, yes))

    def back(self, *, yes: bool = True) -> None:
        """Go back."""
        self.steps.clear()
        upgrades.back(self.project, self.docker.cli, yes=yes)

    @property
    def record(self) -> Record:
        return Record.load(self.project)


@pytest.fixture
def stack(project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> Stack:
    found = Stack(project, docker, monkeypatch)
    Record(ONE.commit).save(project)
    return found


@contextmanager
def failing(stack: Stack, step: str, error: BaseException) -> Iterator[pytest.ExceptionInfo[ToolkitError]]:
    """A block in which a step fails, and with it the upgrade."""
    stack.fails = {step: error}
    with pytest.raises(ToolkitError) as raised:
        yield raised
    stack.fails = {}


SERVERS = ["silence invoke upgrade", "recreate db", "recreate cache", "end invoke upgrade"]
FURTHER = ["engine", "setup", "images", "recover", *SERVERS, "deploy", "up"]


ALL = [*FURTHER[:2], "backup", *FURTHER[2:]]


def test_an_upgrade_shows_its_plan_and_runs_every_step(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    stack.upgrade()
    assert stack.steps == ALL
    assert stack.known == [frozenset({"1-2"})]
    assert stack.record == Record(TWO.commit, Upgrade(ONE.commit, TWO.commit, "former", RUNNING, complete=True))
    output = capsys.readouterr().out
    assert "v1 → v2" in output
    assert "0099_new.sql" in output
    assert output.endswith("v2 is live; to go back: invoke upgrade --back\n")


def test_a_dry_run_changes_no_container(stack: Stack) -> None:
    stack.upgrade(dry_run=True, yes=False)
    assert stack.steps == ["engine", "setup"]
    assert stack.record == Record(ONE.commit)


def test_without_confirmation_nothing_is_changed(stack: Stack) -> None:
    with pytest.raises(ToolkitError, match="confirmation required to upgrade 4 services to v2"):
        stack.upgrade(yes=False)
    assert stack.steps == ["engine", "setup"]
    assert stack.record == Record(ONE.commit)


def test_a_stack_that_is_up_to_date_is_verified(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    stack.plan = Plan((), (), RELEASE)
    stack.upgrade(yes=False)
    assert stack.steps == ["engine", "setup", "up"]
    assert stack.record == Record(TWO.commit)
    assert "every service runs with the files of v2" in capsys.readouterr().out


def test_a_changed_checkout_is_refused(stack: Stack) -> None:
    stack.at = Revision(TWO.commit, "v2", ("docker-compose.yml",))
    with pytest.raises(ToolkitError, match="cannot upgrade") as error:
        stack.upgrade()
    assert "docker-compose.yml" in error.value.why
    assert stack.steps == ["engine"]


def test_a_stack_that_does_not_run_is_not_upgraded(stack: Stack) -> None:
    stack.running = {}
    with pytest.raises(ToolkitError, match="nothing to upgrade") as error:
        stack.upgrade()
    assert error.value.fix == "run: invoke up"
    assert "images" not in stack.steps


def test_another_major_version_of_a_store_is_refused_before_anything_changes(stack: Stack) -> None:
    stack.running["db"] = "postgres:17.2"
    with pytest.raises(ToolkitError, match="a store would change its major version"):
        stack.upgrade()
    assert stack.steps == ["engine", "setup"]
    assert stack.record == Record(ONE.commit)


def test_a_backup_that_fails_ends_the_upgrade(stack: Stack) -> None:
    with failing(stack, "backup", ToolkitError("the target does not answer")) as raised:
        stack.upgrade()
    assert raised.value.what == "the target does not answer"
    assert stack.steps == ALL[:3]
    assert stack.record == Record(ONE.commit)


def test_an_upgrade_without_a_backup_is_confirmed_as_such(stack: Stack) -> None:
    stack.project.env_file.write_text("NETMON_PROFILE=prod\n")
    with pytest.raises(ToolkitError, match="to upgrade 4 services to v2, without a backup"):
        stack.upgrade(yes=False)
    stack.upgrade()
    assert stack.steps == FURTHER


def test_images_that_cannot_be_provided_change_nothing(stack: Stack) -> None:
    with failing(stack, "images", ToolkitError("cannot build")) as raised:
        stack.upgrade()
    assert raised.value.what == "cannot build"
    assert stack.record == Record(ONE.commit)


@pytest.mark.parametrize("step", ["recover", "silence", "recreate", "deploy"])
def test_a_failed_step_names_both_ways_and_the_next_run_continues(stack: Stack, step: str) -> None:
    with failing(stack, step, ToolkitError(f"{step} failed", "why", "fix it", 3)) as raised:
        stack.upgrade()
    error = raised.value
    assert (error.what, error.why, error.code) == ("the upgrade is unfinished", f"{step} failed: why", 3)
    assert error.fix == "fix it\n       to continue: invoke upgrade; to go back: invoke upgrade --back"
    begun = stack.record
    assert begun == Record(ONE.commit, Upgrade(ONE.commit, TWO.commit, "former", RUNNING))
    assert ("end invoke upgrade" in stack.steps) == (step in {"recreate", "deploy"})
    stack.running["db"] = "postgres:18.7"
    stack.upgrade()
    assert stack.steps == FURTHER
    assert stack.record.upgrade
    assert stack.record.upgrade.images == RUNNING, "the images before the upgrade are those of the first run"
    assert stack.record.upgrade.complete


def test_ctrl_c_names_both_ways(stack: Stack) -> None:
    with failing(stack, "recreate", KeyboardInterrupt()) as raised:
        stack.upgrade()
    assert (raised.value.what, raised.value.why, raised.value.code) == ("interrupted", "the upgrade is unfinished", 130)
    assert "--back" in raised.value.fix
    Record(ONE.commit).save(stack.project)
    with failing(stack, "setup", KeyboardInterrupt()) as raised:
        stack.upgrade()
    assert (raised.value.why, raised.value.fix) == ("nothing was changed", "to continue: invoke upgrade")


def test_an_unfinished_upgrade_counts_the_files_of_both_ways(stack: Stack) -> None:
    Record(ONE.commit, Upgrade(ONE.commit, TWO.commit, "former")).save(stack.project)
    stack.at = ONE
    stack.upgrade(dry_run=True)
    assert stack.known == [frozenset({"1-1", "1-2"})]


def test_an_unknown_release_is_upgraded_without_a_way_back(stack: Stack) -> None:
    Record().save(stack.project)
    stack.upgrade()
    assert stack.known == [None]
    assert stack.record == Record(TWO.commit)


def test_development_recreates_the_application_with_up(stack: Stack) -> None:
    stack.project.env_file.write_text("NETMON_PROFILE=dev\n")
    stack.upgrade()
    assert stack.steps == [each for each in FURTHER if each != "deploy"]


def test_the_release_before_gets_a_name_so_that_it_is_not_built_again(stack: Stack) -> None:
    stack.project.env_file.write_text("NETMON_PROFILE=prod\nBACKUP_TARGET=/mnt\n")

    def built(project: Project, *_: object) -> None:
        assert project.env["NETMON_RELEASE"] == "dev", "or the tag of the running image would move"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "provide", built)
        stack.upgrade()
    assert stack.record.upgrade
    assert stack.record.upgrade.release == "dev"


def test_back_checks_the_former_release_out_and_continues_there(stack: Stack) -> None:
    stack.upgrade()
    stack.back()
    assert stack.steps == [f"switch {ONE.commit}", "exec"]
    assert stack.record.upgrade
    assert not stack.record.upgrade.complete
    stack.at = ONE
    stack.upgrade()
    assert stack.steps == FURTHER, "the backup is that of the way here"
    assert stack.record == Record(ONE.commit), "the upgrade is undone"


def test_the_release_to_go_back_to_is_not_built_again(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without a network cannot build."""
    stack.upgrade()
    stack.back()
    stack.at = ONE
    monkeypatch.setattr(upgrades, "_retained", lambda *_: "former")
    monkeypatch.setattr(Release, "plan", lambda *_: pytest.fail("a new release"))
    stack.upgrade()
    assert "deploy former" in stack.steps


def test_an_interrupted_way_back_continues(stack: Stack) -> None:
    stack.upgrade()
    with failing(stack, "switch", ToolkitError("a file is in the way")):
        stack.back()
    stack.back()
    stack.at = ONE
    stack.back(yes=False)
    assert stack.steps == ["exec"]


def test_back_without_an_upgrade_is_refused(stack: Stack) -> None:
    with pytest.raises(ToolkitError, match="cannot go back"):
        stack.back()
    assert stack.steps == []


def test_back_is_refused_if_a_store_cannot_open_its_data_again(stack: Stack) -> None:
    stack.running["redis"] = "redis:8.8.1"
    stack.upgrade()
    stack.running["redis"] = "redis:8.10.2"
    with pytest.raises(ToolkitError, match="cannot go back to v1") as error:
        stack.back()
    assert "redis from 8.10.2 to 8.8.1" in error.value.why
    assert stack.steps == []


@pytest.mark.parametrize("pending", [True, False])
def test_back_from_another_minor_version_of_kafka_needs_its_former_metadata(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, pending: bool
) -> None:
    monkeypatch.setattr(finalize, "metadata_is_pending", lambda _: pending)
    stack.running["kafka"] = "kafka:4.2.0"
    stack.upgrade()
    stack.running["kafka"] = "kafka:4.3.1"
    if pending:
        stack.back()
        assert "exec" in stack.steps
    else:
        with pytest.raises(ToolkitError, match=r"kafka from 4.3.1 to 4.2.0"):
            stack.back()


def test_back_has_to_be_confirmed(stack: Stack) -> None:
    stack.upgrade()
    with pytest.raises(ToolkitError, match="confirmation required to go back from v2 to v1"):
        stack.back(yes=False)
    assert stack.steps == []
    assert stack.record.upgrade
    assert stack.record.upgrade.complete


def test_after_it_was_finalized_there_is_no_way_back(stack: Stack) -> None:
    stack.upgrade()
    final = replace(stack.record, finalized=("metadata.version from 4.2-IV1 to 4.3-IV0",), finalized_at="now")
    final.save(stack.project)
    with pytest.raises(ToolkitError, match="cannot go back to v1") as error:
        stack.back()
    assert "finalized at now: metadata.version from 4.2-IV1 to 4.3-IV0" in error.value.why
    assert "restore the backup of that release" in error.value.fix
    assert stack.steps == []
    stack.at = ONE
    with pytest.raises(ToolkitError, match="cannot go back to v1"):
        stack.upgrade()
    assert stack.steps == ["engine", "setup"], "the checkout of the previous release is no way around"
    assert stack.record == final


def test_the_next_upgrade_has_a_way_back_to_the_finalized_release(stack: Stack) -> None:
    stack.upgrade()
    replace(stack.record, finalized=("metadata.version",), finalized_at="now").save(stack.project)
    stack.at = Revision("3" * 40, "v3")
    stack.upgrade()
    assert stack.record.finalized == ()
    assert stack.record.upgrade
    finalize.require_way_back(stack.record, "v2")
