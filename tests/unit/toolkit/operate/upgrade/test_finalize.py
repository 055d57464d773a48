"""The last step of an upgrade: formats of the brokers are raised, and from then on there is no way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.toolkit.conftest import INFO, FakeDocker, configuration
from tests.unit.toolkit.containers import container
from toolkit.checkout.project import Project
from toolkit.checkout.upgrade_record import Record, Upgrade
from toolkit.checks import status
from toolkit.checks.doctor.subject import Subject
from toolkit.checks.doctor.upgrades import upgrade
from toolkit.core import files
from toolkit.core.errors import ToolkitError
from toolkit.operate.upgrade import finalize

DONE = Upgrade("1" * 40, "2" * 40, "former", {}, complete=True)
FLAG = {"name": "new_flag", "state": "enabled", "stability": "stable"}
DISABLED = {**FLAG, "state": "disabled"}
EXPERIMENTAL = {"name": "other", "state": "disabled", "stability": "experimental"}
FEATURES = (
    "Feature: kraft.version\tSupportedMinVersion: 0\tSupportedMaxVersion: 1\tFinalizedVersionLevel: 0\tEpoch: 9\n"
    "Feature: metadata.version\tSupportedMinVersion: 3.3-IV3\tSupportedMaxVersion: 4.3-IV0\t"
    "FinalizedVersionLevel: {}\tEpoch: 9\n"
)
RAISE_FLAGS, RAISE_METADATA = ("enable_feature_flag", "all"), ("upgrade", "--release-version=4.3")


class Brokers:
    """RabbitMQ and Kafka, which write the formats of the version before until these are raised."""

    def __init__(self, docker: FakeDocker) -> None:
        self.docker = docker
        docker.on("info", stdout=INFO)
        docker.on("compose", "config", stdout=configuration(rabbitmq={"image": "r:4"}, kafka={"image": "k:4"}))
        docker.on("ps", stdout="one\ntwo\n")
        docker.on("container", "inspect", stdout=[container("rabbitmq"), container("kafka")])
        self.write(DISABLED, "4.2-IV1")
        docker.answer("enable_feature_flag", by=lambda _: self.raised(FLAG, None))
        docker.answer("--release-version=4.3", by=lambda _: self.raised(None, "4.3-IV0"))

    def write(self, flag: dict[str, str] | None, metadata: str | None) -> None:
        if flag:
            self.docker.on("list_feature_flags", stdout=[flag, EXPERIMENTAL])
        if metadata:
            self.docker.on("kafka-features.sh", "describe", stdout=FEATURES.format(metadata))

    def raised(self, flag: dict[str, str] | None, metadata: str | None) -> Any:
        self.write(flag, metadata)
        return self.docker.result("")

    def commands(self) -> list[Sequence[str]]:
        """The commands that raise a format."""
        wanted = (*RAISE_FLAGS, *RAISE_METADATA)
        return [call[-2:] for call in self.docker.calls if call[-1] in wanted]


@pytest.fixture
def brokers(project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> Brokers:
    monkeypatch.setattr(finalize, "KAFKA_FEATURES", ("kafka-features.sh",))
    files.make_folder(project.lock_file.parent)
    Record(DONE.target, DONE).save(project)
    return Brokers(docker)


def test_both_formats_are_raised_and_recorded(
    project: Project, brokers: Brokers, capsys: pytest.CaptureFixture[str]
) -> None:
    finalize.finalize(project, brokers.docker.cli, yes=True)
    assert [tuple(each) for each in brokers.commands()] == [RAISE_FLAGS, RAISE_METADATA]
    found = Record.load(project)
    assert found.finalized == ("feature flags new_flag", "metadata.version from 4.2-IV1 to 4.3-IV0")
    assert found.finalized_at.endswith(" UTC")
    assert found.unfinalized == ()
    assert "invoke upgrade --back is refused afterwards" in capsys.readouterr().out


def test_it_has_to_be_confirmed_and_nothing_is_raised_before(project: Project, brokers: Brokers) -> None:
    with pytest.raises(ToolkitError, match="confirmation required to raise these formats, which has no way back"):
        finalize.finalize(project, brokers.docker.cli)
    assert brokers.commands() == []
    assert Record.load(project) == Record(DONE.target, DONE)


def test_nothing_is_pending_and_nothing_recorded(project: Project, brokers: Brokers) -> None:
    brokers.write(FLAG, "4.3-IV0")
    Record(DONE.target, DONE, ("as before",)).save(project)
    finalize.finalize(project, brokers.docker.cli)
    assert brokers.commands() == []
    assert Record.load(project) == Record(DONE.target, DONE)


def test_an_unfinished_upgrade_is_not_finalized(project: Project, brokers: Brokers) -> None:
    Record(DONE.source, replace(DONE, complete=False)).save(project)
    with pytest.raises(ToolkitError, match="cannot finalize") as error:
        finalize.finalize(project, brokers.docker.cli, yes=True)
    assert error.value.why == "the upgrade is unfinished"
    assert brokers.commands() == []


@pytest.mark.parametrize(
    ("containers", "why"),
    [
        ([container("rabbitmq"), container("kafka"), container("app", "running", "unhealthy")], "not healthy: app"),
        ([container("rabbitmq")], "there is no container of kafka"),
    ],
)
def test_a_release_that_is_not_healthy_is_not_finalized(
    project: Project, brokers: Brokers, containers: list[object], why: str
) -> None:
    brokers.docker.on("container", "inspect", stdout=containers)
    with pytest.raises(ToolkitError, match="cannot finalize") as error:
        finalize.finalize(project, brokers.docker.cli, yes=True)
    assert error.value.why.startswith(why)
    assert brokers.commands() == []


def test_a_broker_that_refuses_leaves_the_record_of_the_attempt(project: Project, brokers: Brokers) -> None:
    """One of the two may have been raised, so the way back stays closed."""
    brokers.docker.on("--release-version=4.3", stderr="The feature update is refused", code=1)
    with pytest.raises(ToolkitError, match=r"cannot raise metadata.version") as error:
        finalize.finalize(project, brokers.docker.cli, yes=True)
    assert "refused" in error.value.why
    found = Record.load(project)
    assert found.finalized
    assert found.unfinalized
    with pytest.raises(ToolkitError, match="cannot go back to v1"):
        finalize.require_way_back(found, "v1")


def test_a_format_that_is_not_raised_is_an_error(project: Project, brokers: Brokers) -> None:
    brokers.docker.on("--release-version=4.3")
    with pytest.raises(ToolkitError, match="the upgrade is not finalized") as error:
        finalize.finalize(project, brokers.docker.cli, yes=True)
    assert error.value.why == "metadata.version from 4.2-IV1 to 4.3-IV0: still as before"


@pytest.mark.parametrize("output", ["", "{}", "null", '[{"name": "x"}]'])
def test_unknown_output_is_an_error(brokers: Brokers, output: str) -> None:
    brokers.docker.on("list_feature_flags", stdout=output)
    if output != "{}":
        with pytest.raises(ToolkitError, match="cannot list the feature flags"):
            finalize.pending(brokers.docker.cli)
    brokers.docker.on("list_feature_flags", stdout=[FLAG])
    brokers.docker.on("kafka-features.sh", "describe", stdout=output)
    with pytest.raises(ToolkitError, match="cannot read the features of Kafka"):
        finalize.pending(brokers.docker.cli)


def test_an_upgrade_that_is_not_final_is_reported(project: Project, brokers: Brokers) -> None:
    finalize.note(project, brokers.docker.cli)
    known = Record.load(project)
    assert known.unfinalized == ("feature flags new_flag", "metadata.version from 4.2-IV1 to 4.3-IV0")
    assert (known.live, known.upgrade) == (DONE.target, DONE)
    [found] = upgrade(Subject(project, brokers.docker.cli))
    assert found.outcome == "warning"
    assert found.detail.startswith("the upgrade is not finalized: feature flags new_flag")
    assert "invoke upgrade --finalize" in found.fix
    assert status.upgrades(project, brokers.docker.cli) == [found]
    finalize.finalize(project, brokers.docker.cli, yes=True)
    assert list(upgrade(Subject(project, brokers.docker.cli))) == []


def test_an_unfinished_upgrade_is_reported(project: Project, brokers: Brokers) -> None:
    Record(DONE.source, replace(DONE, complete=False)).save(project)
    [found] = upgrade(Subject(project, brokers.docker.cli))
    assert (found.outcome, found.detail) == ("warning", "the upgrade is unfinished")


def test_metadata_of_an_older_version_is_known_from_the_broker(brokers: Brokers) -> None:
    brokers.write(None, "4.2-IV1")
    assert finalize.metadata_is_pending(brokers.docker.cli)
    brokers.write(None, "4.3-IV0")
    assert not finalize.metadata_is_pending(brokers.docker.cli)
    brokers.docker.on("kafka-features.sh", "describe", stderr="no such file", code=127)
    assert not finalize.metadata_is_pending(brokers.docker.cli)


def test_a_broker_that_does_not_answer_fails_no_upgrade(
    project: Project, brokers: Brokers, capsys: pytest.CaptureFixture[str]
) -> None:
    brokers.docker.on("kafka-features.sh", "describe", stderr="no such file", code=127)
    finalize.note(project, brokers.docker.cli)
    assert "is unknown: cannot read the features of Kafka" in capsys.readouterr().out
    assert Record.load(project) == Record(DONE.target, DONE)
