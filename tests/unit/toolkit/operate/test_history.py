"""The history of a machine and each task: what it does where something was started before."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.unit.toolkit.conftest import INFO, FakeDocker, configuration
from tests.unit.toolkit.containers import container
from tests.unit.toolkit.history import listing, reported
from tests.unit.toolkit.tasks.test_json_output import document
from toolkit.checkout import generated
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.checks import doctor, smoke, status
from toolkit.core import envfile
from toolkit.core.errors import ToolkitError
from toolkit.core.presentation import present
from toolkit.core.report import NO_FINDINGS, Finding, Outcome, Report
from toolkit.engine.compose import Result
from toolkit.engine.existing import LISTED
from toolkit.operate import deploy, lifecycle
from toolkit.operate import reload as reloading
from toolkit.operate.lifecycle import Options

TASKS = ("up", "down", "status", "doctor", "reload", "deploy")
VOLUME = "network-monitor_postgres_data"
SERVICES: dict[str, Any] = {
    "app": {"image": "app:1"},
    "worker": {"image": "app:1"},
    "db": {
        "image": "db:1",
        "volumes": [{"type": "volume", "source": "postgres_data", "target": "/var/lib/postgresql"}],
    },
}


@dataclass
class Machine:
    """A machine with containers and volumes; `invoke` runs a task, and records what it changed."""

    project: Project
    docker: FakeDocker
    present: dict[str, str] = field(default_factory=dict)
    """The listing of each container, by its id."""
    volume: dict[str, str] | None = None
    """The files of the database's volume; None if it does not exist."""
    networks: str = ""
    changes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        more = {"volumes": {"postgres_data": {"name": VOLUME}}, "networks": {"app-network": {}}}
        config = {**configuration(**SERVICES), **more}
        fine = Result(0, "", "")
        answers: dict[tuple[str, ...], Callable[[list[str]], Result]] = {
            ("info",): lambda _: FakeDocker.result(INFO),
            ("compose", "config"): lambda _: FakeDocker.result(config),
            ("compose", "config", "--hash"): lambda _: Result(0, "".join(f"{name} 1\n" for name in SERVICES), ""),
            ("compose", "up"): self._up,
            ("compose", "down"): self._down,
            ("image", "inspect"): lambda _: FakeDocker.result([]),
            ("ps", "--quiet"): lambda _: Result(0, "\n".join(self.present), ""),
            ("ps", "{{.Names}}", "--filter"): lambda _: Result(0, "\n".join(self.present), ""),
            LISTED: lambda _: Result(0, "".join(self.present.values()), ""),
            ("container", "inspect"): self._inspect,
            ("network", "ls"): lambda _: fine,
            ("network", "ls", "--format"): lambda _: Result(0, self.networks, ""),
            ("volume", "ls"): lambda _: Result(0, VOLUME if self.volume is not None else "", ""),
            ("volume", "inspect"): self._volumes,
            ("run", "--rm"): lambda _: Result(0, reported("postgres_data", self.volume or {}), ""),
            ("docker", "stop"): lambda _: fine,
            ("docker", "rm"): self._remove,
            ("network", "rm"): self._remove_networks,
            ("stats",): lambda _: fine,
        }
        for words, by in answers.items():
            self.docker.answer(*words, by=by)

    def has(self, *services: str, **given: Any) -> None:
        """Add containers of services."""
        for service in services:
            line = listing(self.project, service, image=SERVICES.get(service, {"image": "other:1"})["image"], **given)
            self.present[line.partition("\t")[0]] = line

    def _up(self, _argv: list[str]) -> Result:
        self.changes.append("started")
        self.has(*SERVICES)
        return Result(0, "", "")

    def _down(self, _argv: list[str]) -> Result:
        self.changes.append("taken down")
        self.present.clear()
        return Result(0, "", "")

    def _remove(self, argv: list[str]) -> Result:
        for identifier in argv[3:]:
            if self.present.pop(identifier, None):
                self.changes.append(f"removed {identifier.removeprefix('id-network-monitor-')}")
        return Result(0, "", "")

    def _remove_networks(self, argv: list[str]) -> Result:
        self.changes.append(f"removed {', '.join(argv[3:])}")
        return Result(0, "", "")

    def _inspect(self, argv: list[str]) -> Result:
        found = []
        for identifier in argv[3:]:
            if identifier in self.present:
                each = container(self.present[identifier].split("\t")[6], id=identifier)
                each["Config"]["Labels"] |= {"com.docker.compose.config-hash": "1"}
                each["State"]["Running"] = True
                each["Config"]["Image"] = each["Image"] = self.present[identifier].split("\t")[3]
                found.append(each)
        return FakeDocker.result(found)

    def _volumes(self, _argv: list[str]) -> Result:
        if self.volume is None:
            return Result(1, "", "no such volume")
        return Result(0, f"{VOLUME}\t2026-01-01T00:00:00Z\n", "")

    def invoke(self, task: str, *, yes: bool = False, as_json: bool = False) -> None:
        """Run a task."""
        self.docker.cli._queries.clear()
        project, cli = self.project, self.docker.cli
        match task:
            case "up":
                lifecycle.up(project, cli, Options(2, yes=yes))
            case "down":
                lifecycle.down(project, cli)
            case "status":
                present(task, lambda: status.read(project, cli), status.NOTHING, as_json=as_json)
            case "doctor":
                present(task, lambda: doctor.doctor(project, cli), NO_FINDINGS, as_json=as_json)
            case "reload":
                reloading.reload(project, cli)
            case "deploy":
                deploy.deploy(project, cli, timeout=1)


@pytest.fixture
def machine(project: Project, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine without history; replaced are only what needs a network or runs for long."""
    setup(project, "dev", images="local", folder=str(INFO["DockerRootDir"]))
    generated.forget(project)
    found = Machine(project, docker)
    monkeypatch.setattr(smoke, "smoke", lambda *_: Report("smoke checks", [Finding("db", Outcome.OK, "done")]))
    monkeypatch.setattr(reloading, "require_valid", lambda _stack: None)
    step = (lambda *_: found.changes.append("reloaded"), lambda _stack: "reloaded")
    monkeypatch.setattr(reloading, "STEPS", {"app": step})
    monkeypatch.setattr(deploy, "_roll_out", lambda *_: found.changes.append("rolled out"))
    monkeypatch.setattr(deploy, "_close", lambda *_: None)
    monkeypatch.setattr("toolkit.operate.deploy.release.prune", lambda *_: None)
    docker.on("git", code=128)
    monkeypatch.setattr("shutil.disk_usage", lambda _: (100, 0, 50_000_000_000))
    monkeypatch.setattr(doctor, "CHECKS", [each for each in doctor.CHECKS if each.__name__ in {"leftovers", "data"}])
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    return found


OWN = ("app", "worker", "db")
ELSEWHERE = "{elsewhere}"


def nothing(_: Machine) -> None:
    """Never started here."""


def own(machine: Machine) -> None:
    """This stack runs."""
    machine.has(*OWN)


def production(machine: Machine) -> None:
    """Production has run in this folder, and its proxy still does."""
    machine.has(*OWN)
    machine.has("proxy", profile="prod", ports="0.0.0.0:443->8443/tcp")


def other_images(machine: Machine) -> None:
    """The other image set has run in this folder."""
    envfile.update(machine.project.env_file, {"NETMON_IMAGES": "pulled"})
    machine.has(*OWN, images="pulled")
    machine.has("victorialogs")


def other_clone(machine: Machine) -> None:
    """Another folder runs a stack of the same name."""
    (machine.project.root.parent / "first").mkdir()
    machine.has(*OWN, folder=str(machine.project.root.parent / "first"))


def moved(machine: Machine) -> None:
    """The checkout was moved while its stack ran."""
    machine.has(*OWN, folder="/was/here")


def orphan(machine: Machine) -> None:
    """A service was removed from the files while it ran."""
    machine.has(*OWN, "web", ports="")


def kept_orphan(machine: Machine) -> None:
    """The same, and the user wants it ignored."""
    orphan(machine)
    envfile.update(machine.project.env_file, {"COMPOSE_IGNORE_ORPHANS": "true"})


def old_data(machine: Machine) -> None:
    """The volume of an earlier major version, and no container."""
    machine.volume = {"17/docker/PG_VERSION": "17\n"}


def own_data(machine: Machine) -> None:
    """The volume of this version, and no container."""
    machine.volume = {"18/docker": "", "18/docker/PG_VERSION": "18\n"}


def other_profile(machine: Machine) -> None:
    """Production has run in this folder, with no service of its own left."""
    machine.has(*OWN, profile="prod")


def data_beside(machine: Machine) -> None:
    """The data of this version, and that of the former one."""
    own_data(machine)
    machine.volume = {**(machine.volume or {}), "17/docker/PG_VERSION": "17\n"}


def unknown_data(machine: Machine) -> None:
    """A volume that cannot be looked at, because the image is missing."""
    own_data(machine)
    machine.docker.on("run", "--rm", code=125, stderr="docker: Error response from daemon: No such image: db:1")


SEPARATE = "COMPOSE_PROJECT_NAME=network-monitor-checkout"
LEFT = "proxy (of the profile prod, publishes 0.0.0.0:443->8443/tcp)"
FOREIGN = "the project network-monitor belongs to another folder"
REFUSED = ("", FOREIGN, "/first has started app, worker, db", SEPARATE)
GONE = ("", FOREIGN, "/was/here, which does not exist on this machine", "invoke up --yes", SEPARATE)
NOT_UP = ("", "error: the stack is not up")
OLD = (f"{VOLUME} contains PostgreSQL 17 (17/docker/PG_VERSION)", "docs/operations.md#data-of-another-version")

# What each task changes, and what it prints; a text that begins with "!" must not be printed.
MATRIX: dict[Callable[[Machine], None], dict[str, tuple[str, ...]]] = {
    nothing: {"up": ("started",), "down": ("", "nothing to do"), "status": NOT_UP, "doctor": ("", "none yet"),
              "reload": ("", "nothing to reload"), "deploy": ("", "nothing to replace")},
    own: {"up": ("started", "!left over"), "down": ("taken down", "!orphan"), "status": ("", "!error"),
          "doctor": ("", "no container of another folder", "in use"), "reload": ("reloaded",),
          "deploy": ("rolled out",)},
    production: {"up": ("removed proxy-1, started", f"{LEFT}: left over, stopped and removed"),
                 "down": ("taken down", LEFT),
                 "status": ("", f"error: the stack does not belong to this checkout: {LEFT}"),
                 "doctor": ("", f"{LEFT} is left over", "invoke up, which removes it"), "reload": ("reloaded", LEFT),
                 "deploy": ("", f"{LEFT} is left over", "invoke up, which removes it")},
    other_images: {"up": ("removed victorialogs-1, started", "of the local images"), "down": ("taken down",),
                   "status": ("", "victorialogs (of the local images) is left over"),
                   "doctor": ("", "victorialogs (of the local images) is left over"),
                   "reload": ("reloaded", "victorialogs"), "deploy": ("", "victorialogs (of the local images)")},
    other_clone: {"up": REFUSED, "down": (*REFUSED, "run invoke down in"), "status": REFUSED, "doctor": REFUSED,
                  "reload": REFUSED, "deploy": REFUSED},
    moved: {"up": GONE, "down": ("taken down", "does not exist on this machine"), "status": GONE, "doctor": GONE,
            "reload": GONE, "deploy": GONE},
    orphan: {"up": ("", "confirmation required to remove the containers of services that are in no compose file: web",
                    "add --yes"),
             "down": ("taken down", "web is in no compose file"), "status": ("", "web is in no compose file", "!error"),
             "doctor": ("", "web is in no compose file", "after confirmation"),
             "reload": ("reloaded", "web is in no compose file"),
             "deploy": ("rolled out", "web is in no compose file")},
    kept_orphan: {"up": ("started", "!web"), "down": ("taken down", "!web"), "status": ("", "!in no compose file"),
                  "doctor": ("", "!web"), "reload": ("reloaded",), "deploy": ("rolled out",)},
    old_data: {"up": ("", "db cannot start with the existing data", *OLD, f"docker volume rm {VOLUME}"),
               "down": ("", "nothing to do"), "status": ("", *OLD), "doctor": ("", *OLD),
               "reload": ("", "nothing to reload"), "deploy": ("", "nothing to replace")},
    own_data: {"up": ("started",), "down": ("", "nothing to do"), "status": (*NOT_UP, "!PostgreSQL"),
               "doctor": ("", "1 volumes"), "reload": ("", "nothing to reload"),
               "deploy": ("", "nothing to replace")},
}  # fmt: skip


def test_matrix_has_every_task() -> None:
    assert all(tuple(cells) == TASKS for cells in MATRIX.values())
    assert sum(map(len, MATRIX.values())) >= 40


@pytest.mark.parametrize(
    ("history", "task"), [(history, task) for history, cells in MATRIX.items() for task in cells],
    ids=lambda value: getattr(value, "__name__", value),
)  # fmt: skip
def test_task_on_a_history(
    machine: Machine, capsys: pytest.CaptureFixture[str], history: Callable[[Machine], None], task: str
) -> None:
    history(machine)
    changes, *texts = MATRIX[history][task]
    printed = ""
    try:
        machine.invoke(task)
    except ToolkitError as error:
        printed = error.render()
    printed = re.sub(r"\s+", " ", capsys.readouterr().out + printed)
    assert ", ".join(machine.changes) == changes, printed
    for text in texts:
        assert (text.removeprefix("!") in printed) is not text.startswith("!"), printed


LEFTOVERS, DATA = ("leftovers", "", "ok"), ("data", "", "ok")

# The check, subject and outcome of each finding in the JSON documents.
DOCUMENTS: dict[Callable[[Machine], None], list[tuple[str, str, str]]] = {
    nothing: [LEFTOVERS, DATA],
    own: [LEFTOVERS, DATA],
    production: [("leftovers", "proxy", "failed"), DATA],
    other_images: [("leftovers", "victorialogs", "failed"), DATA],
    other_clone: [("leftovers", ELSEWHERE, "failed"), DATA],
    moved: [("leftovers", "/was/here", "failed"), DATA],
    orphan: [("leftovers", "web", "warning"), DATA],
    kept_orphan: [LEFTOVERS, DATA],
    other_profile: [("leftovers", "profile", "warning"), DATA],
    old_data: [LEFTOVERS, ("data", VOLUME, "failed")],
    data_beside: [LEFTOVERS, ("data", VOLUME, "warning")],
    unknown_data: [LEFTOVERS, ("data", "", "warning")],
    own_data: [LEFTOVERS, DATA],
}


def test_every_history_has_a_document() -> None:
    assert MATRIX.keys() <= DOCUMENTS.keys()


@pytest.mark.parametrize("history", DOCUMENTS, ids=lambda value: value.__name__)
def test_documents_of_status_and_doctor_have_the_same_findings(
    machine: Machine, capsys: pytest.CaptureFixture[str], history: Callable[[Machine], None]
) -> None:
    history(machine)
    elsewhere = str(machine.project.root.parent / "first")
    expected = [tuple(cell.format(elsewhere=elsewhere) for cell in cells) for cells in DOCUMENTS[history]]
    findings = {}
    for task in ("status", "doctor"):
        with suppress(ToolkitError):
            machine.invoke(task, as_json=True)
        result = document(capsys.readouterr().out)
        findings[task] = result["findings"]
        found = [(each["check"], each["subject"], each["outcome"]) for each in findings[task]]
        assert found == expected, task
        if any(outcome == "failed" for *_, outcome in expected):
            assert not result["ok"]
    assert findings["status"] == findings["doctor"]
    assert all(each["fix"] for each in findings["status"] if each["outcome"] != "ok")


@pytest.mark.parametrize("history", [moved, orphan], ids=lambda value: value.__name__)
@pytest.mark.parametrize(("answer", "confirmed"), [("y", True), ("", False), (EOFError(), False)])
def test_consent_at_the_prompt(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    history: Callable[[Machine], None],
    answer: str | EOFError,
    confirmed: bool,
) -> None:
    """Ctrl-D declines, as it does for every other confirmation."""

    def asked(question: str) -> str:
        assert question.endswith("? [y/N] ")
        if isinstance(answer, EOFError):
            raise answer
        return answer

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", asked)
    history(machine)
    if confirmed:
        machine.invoke("up")
        assert machine.changes[-1] == "started"
        return
    with pytest.raises(ToolkitError, match="cancelled: nothing was changed"):
        machine.invoke("up")
    assert machine.changes == []


def test_networks_of_the_other_profile_are_removed_after_the_start(machine: Machine) -> None:
    production(machine)
    machine.networks = "x_app-network\tapp-network\nx_frontend-network\tfrontend-network\n"
    machine.invoke("up")
    assert machine.changes == ["removed proxy-1", "started", "removed x_frontend-network"]


def test_port_of_a_container_that_is_to_be_removed_counts_as_free(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    production(machine)
    leaving: set[str] = set()
    monkeypatch.setattr(doctor, "require_free_ports", lambda _project, _docker, names: leaving.update(names))
    machine.invoke("up")
    assert "network-monitor-proxy-1" in leaving


def test_confirmed_orphan_is_removed_before_the_start(machine: Machine) -> None:
    orphan(machine)
    machine.invoke("up", yes=True)
    assert machine.changes == ["removed web-1", "started"]


def test_confirmed_move_removes_every_container_of_the_former_folder(machine: Machine) -> None:
    """Compose would keep those whose settings name no folder, and they would belong to the former one forever."""
    moved(machine)
    machine.invoke("up", yes=True)
    assert machine.changes == ["removed app-1", "removed worker-1", "removed db-1", "started"]
    machine.invoke("status")


def test_confirmation_does_not_extend_to_a_folder_that_exists(machine: Machine) -> None:
    other_clone(machine)
    with pytest.raises(ToolkitError, match=FOREIGN):
        machine.invoke("up", yes=True)
    assert machine.changes == []


def test_data_of_another_checkout_is_refused_until_its_secrets_are_here(machine: Machine) -> None:
    own_data(machine)
    generated.record(machine.project, ["postgres_password"])
    with pytest.raises(ToolkitError, match="older than its password"):
        machine.invoke("up")
    assert machine.changes == []
    (Path(machine.project.secrets_dir) / "postgres_password.txt").write_text("of-the-other-checkout-1")
    envfile.update(machine.project.env_file, {"POSTGRES_PASSWORD": "of-the-other-checkout-1"})
    machine.invoke("up")
    assert machine.changes == ["started"]


def test_deletion_of_the_volumes_of_another_checkout_names_them(machine: Machine) -> None:
    own_data(machine)
    with pytest.raises(ToolkitError) as raised:
        lifecycle.down(machine.project, machine.docker.cli, volumes=True)
    assert "older" not in raised.value.render()
    generated.record(machine.project, ["postgres_password"])
    with pytest.raises(ToolkitError, match=f"older than the passwords of this checkout: {VOLUME}"):
        lifecycle.down(machine.project, machine.docker.cli, volumes=True)
    assert machine.changes == []


def test_successful_start_ends_the_record_of_generated_passwords(machine: Machine) -> None:
    generated.record(machine.project, ["postgres_password"])
    machine.invoke("up")
    assert not generated.path(machine.project).exists()


def test_down_needs_neither_settings_nor_compose_files(machine: Machine) -> None:
    own(machine)
    machine.project.env_file.write_bytes(b"\xff")
    machine.docker.on("compose", "config", code=15, stderr="yaml: line 3")
    machine.docker.on("ps", f"label=com.docker.compose.project.working_dir={machine.project.root}",
                      stdout="network-monitor\n")  # fmt: skip
    machine.invoke("down")
    assert machine.changes == ["taken down"]


def test_warm_up_starts_one_listing_and_no_look(machine: Machine) -> None:
    own(machine)
    machine.volume = {"17/docker/PG_VERSION": "17\n"}
    machine.invoke("up")
    assert len(machine.docker.ran(*LISTED)) == 1
    assert machine.docker.ran("run") == machine.docker.ran("volume", "inspect") == []
    assert machine.docker.ran("--profile", "*") == []
