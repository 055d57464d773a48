"""Image contracts: parsing, and the inspection of images that conform or differ."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import yaml

from tests.unit.toolkit.conftest import FakeDocker, configuration
from toolkit.checkout.project import LOCAL, PULLED, Project
from toolkit.core.errors import ToolkitError
from toolkit.core.report import Outcome
from toolkit.engine.compose import Result
from toolkit.engine.timeouts import TimedOutError
from toolkit.images.contracts.check import Result as Checked
from toolkit.images.contracts.check import check, check_published, images
from toolkit.images.contracts.contract import Contract, Folder, load
from toolkit.images.contracts.inspection import Image, inspect

NAME = "docker.io/library/cache:1"
WRITTEN = """
image: library/cache:1
services: [redis]
upstream: []
config:
  user: "999:1000"
  entrypoint: [entry.sh]
  command: [serve]
  workdir: /data
  volumes: [/data]
  ports: [6379/tcp]
  environment: {LANG: C}
accounts: {cache: "999:1000"}
programs: [sh, serve]
missing: [bash]
commands: [serve --check]
writes:
  /data: {owner: "999:1000", mode: "0755"}
  /logs: {absent: true}
start:
  program: /usr/bin/serve
  files: [/data/state]
  cases:
    - {given: serve /etc/x, becomes: serve /etc/x --more *}
    - {given: serve, environment: {PASSWORD_FILE: /x}, exports: [PASSWORD]}
    - {given: serve, environment: {OLD: "1"}, exits: 1}
exits_without: {kafka: --kafka=kafka:1}
local:
  config: {user: "1:1"}
  program: /usr/local/bin/serve
"""
CONTRACT = Contract.read("cache", yaml.safe_load(WRITTEN))
IMAGE = Image(NAME, "999:1000", CONTRACT)


def archive(uid: int, gid: int, mode: int, text: str | None = None) -> str:
    """The output of `docker cp` for a folder, or for a file with this text."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as files:
        entry = tarfile.TarInfo("x")
        entry.uid, entry.gid, entry.mode = uid, gid, mode
        entry.type = tarfile.DIRTYPE if text is None else tarfile.REGTYPE
        entry.size = len(text or "")
        files.addfile(entry, io.BytesIO((text or "").encode()))
    return stream.getvalue().decode()


@dataclass
class Engine:
    """An engine with one image, which conforms to the contract except for the changes of a test."""

    docker: FakeDocker
    config: dict[str, object] = field(
        default_factory=lambda: {
            "User": "cache",
            "Entrypoint": ["entry.sh"],
            "Cmd": ["serve"],
            "WorkingDir": "/data",
            "Volumes": {"/data": {}},
            "ExposedPorts": {"6379/tcp": {}, "1/tcp": {}},
            "Env": ["PATH=/bin", "LANG=C"],
        }
    )
    files: dict[str, str] = field(
        default_factory=lambda: {
            "/etc/passwd": archive(0, 0, 0o644, "root:x:0:0::/:/bin/sh\ncache:x:999:1000::/data:/bin/sh\n"),
            "/etc/group": archive(0, 0, 0o644, "root:x:0:\ncache:x:1000:\n"),
            "/data": archive(999, 1000, 0o755),
        }
    )
    runs: dict[str, Result] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.docker.answer("image", "inspect", by=self._inspect)
        self.docker.on("create", stdout="c0ffee\n")
        self.docker.answer("cp", by=lambda argv: self._copy(argv[-2].partition(":")[2]))
        self.docker.on("rm")
        self.docker.answer("run", by=self._run)

    def _inspect(self, argv: list[str]) -> Result:
        if set(argv[3:]) != {NAME}:
            return Result(1, "", "Error: No such image: x")
        return self.docker.result([{"Config": self.config}])

    def _copy(self, path: str) -> Result:
        return Result(0, self.files[path], "") if path in self.files else Result(1, "", "Could not find the file")

    def _run(self, argv: list[str]) -> Result:
        words = " ".join(argv[argv.index(NAME) + 1 :])
        flags = " ".join(argv)
        if words in self.runs:
            return self.runs[words]
        if "command -v" in words:
            return Result(0, "bash\n", "")
        if "sh -c" in words:
            return Result(0, "", "")
        if words.startswith("--kafka") or "OLD" in flags:
            return Result(1, "", "no")
        more = "/etc/x --more y" if "/etc/x" in words else ""
        return Result(0, f"entry: hello\nstarted: serve {more}\nexport PASSWORD='x'\nexport PATH='/bin'\n", "")

    def differences(self, contract: Contract = CONTRACT) -> dict[str, str]:
        """The differences between the image and a contract, by clause."""
        found = inspect(self.docker.cli, replace(IMAGE, contract=contract))
        return {verdict.what: verdict.problem for verdict in found if verdict.problem}


@pytest.fixture
def engine(docker: FakeDocker) -> Engine:
    return Engine(docker)


def test_a_conforming_image_has_no_differences(engine: Engine) -> None:
    assert engine.differences() == {}
    assert len(inspect(engine.docker.cli, IMAGE)) == 19
    # As the service's user, without a network; the stub replaces the program and the files.
    for argv in engine.docker.ran("run"):
        assert "none" in argv[argv.index("--network") + 1]
        assert argv[argv.index("--user") + 1] == "999:1000"
    mounted = next(argv for argv in engine.docker.ran("run") if argv[-1] == "/etc/x")
    stub = engine.docker.cli.root / "images" / "stub.sh"
    assert f"--volume={stub}:/usr/bin/serve:ro" in mounted
    assert f"--volume={stub}:/data/state:ro" in mounted
    assert engine.docker.ran("rm", "--volumes", "c0ffee")


@pytest.mark.parametrize(
    ("user", "resolved"),
    [("", "0:0"), ("0", "0:0"), ("999", "999:1000"), ("cache:root", "999:0"), ("10001", "10001:0"), ("7:8", "7:8")],
)
def test_the_user_is_resolved_like_by_the_engine(engine: Engine, user: str, resolved: str) -> None:
    engine.config["User"] = user
    same = resolved == CONTRACT.config.user
    assert engine.differences() == ({} if same else {"user": f"{resolved} instead of 999:1000"})


def test_differences_of_the_configuration(engine: Engine) -> None:
    engine.config = {"User": "999:1000", "StopSignal": "SIGINT"}
    assert engine.differences() == {
        "entry point": "nothing instead of entry.sh",
        "command": "nothing instead of serve",
        "working directory": "/ instead of /data",
        "stop signal": "SIGINT instead of SIGTERM",
        "volumes": "nothing instead of /data",
        "ports": "does not expose 6379/tcp",
        "variable LANG": "nothing instead of C",
    }


def test_differences_of_the_files(engine: Engine) -> None:
    engine.config["User"] = "999:1000"
    engine.files = {"/data": archive(0, 0, 0o700)}
    assert engine.differences() == {"account cache": "nothing instead of 999:1000",
                                    "/data": "0:0 0700 instead of 999:1000 0755"}  # fmt: skip
    engine.files = {}
    assert engine.differences()["/data"] == "is missing"


def test_differences_of_programs(engine: Engine) -> None:
    search = next(argv for argv in _runs(engine) if "command -v" in argv)
    engine.runs[search] = Result(0, "serve\n", "")
    assert engine.differences() == {"program serve": "is missing", "no program bash": "exists"}
    engine.runs[search] = Result(127, "", "no sh")
    assert engine.differences() == {"program sh": "is missing", "program serve": "is missing"}


def test_programs_of_an_image_without_a_shell(engine: Engine) -> None:
    bare = replace(CONTRACT, programs=("/serve",), missing=("/bin/sh",), commands=(), cases=())
    engine.runs["--version"] = Result(127, "", "no such file")
    assert engine.differences(bare) == {"program /serve": "is missing"}
    engine.runs["--version"] = Result(1, "", "unknown option")
    assert engine.differences(bare) == {"no program /bin/sh": "exists"}


def test_differences_of_commands(engine: Engine) -> None:
    command = next(argv for argv in _runs(engine) if 'sh -c "$line"' in argv)
    engine.runs[command] = Result(0, "serve --check\n", "")
    assert engine.differences() == {"serve --check": "fails"}


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        (Result(0, "started: serve /etc/x\n", ""), "serve /etc/x instead of serve /etc/x --more *"),
        (Result(1, "", "permission denied"), "the program is not started: permission denied"),
        (Result(0, f"started: {'x' * 400}\n", ""), f"{'x' * 150} … {'x' * 150} instead of serve /etc/x --more *"),
    ],
)
def test_differences_of_a_start(engine: Engine, result: Result, problem: str) -> None:
    engine.runs["serve /etc/x"] = result
    assert engine.differences() == {"start serve /etc/x": problem}


def test_differences_of_exported_variables_and_exit_codes(engine: Engine) -> None:
    engine.runs["serve"] = Result(0, "started: serve\nexport OTHER='x'\n", "")
    assert engine.differences() == {
        "start PASSWORD_FILE serve": "PASSWORD is not in the environment",
        "start OLD serve": "exits with 0 instead of 1",
    }


def test_the_container_of_a_run_that_exceeds_its_timeout_is_removed(engine: Engine) -> None:
    def endless(argv: list[str]) -> Result:
        raise TimedOutError(" ".join(argv), "")

    engine.docker.answer("run", "--kafka=kafka:1", by=endless)
    assert engine.differences() == {"exits without kafka": "does not exit"}
    name = engine.docker.ran("run", "--kafka=kafka:1")[0]
    assert engine.docker.ran("rm", "--force", name[name.index("--name") + 1])


def _runs(engine: Engine) -> list[str]:
    """The arguments of each run of an inspection."""
    engine.differences()
    return [" ".join(argv[argv.index(NAME) + 1 :]) for argv in engine.docker.ran("run")]


def test_the_contract_of_a_local_image_has_its_differences() -> None:
    local = CONTRACT.of_local_image()
    assert local.config == replace(CONTRACT.config, user="1:1")
    assert (local.program, local.missing) == ("/usr/local/bin/serve", ())
    assert replace(local, config=CONTRACT.config, program=CONTRACT.program, missing=CONTRACT.missing) == CONTRACT


@pytest.mark.parametrize(
    ("user", "owner", "mode", "writes"),
    [
        ("1:1", "1:2", 0o755, True), ("1:1", "1:1", 0o577, False), ("1:1", "2:1", 0o775, True),
        ("1:1", "2:1", 0o757, False), ("1:1", "2:2", 0o757, True), ("1:1", "2:2", 0o775, False),
        ("1:1", "1:1", 0o677, False), ("0:0", "1:1", 0o000, True),
    ],
)  # fmt: skip
def test_write_permission_of_a_folder(user: str, owner: str, mode: int, writes: bool) -> None:
    assert Folder(owner, mode).writable_for(user) is writes


def test_a_contract_has_programs_by_name_and_by_path() -> None:
    contract = replace(CONTRACT, programs=("sh", "/opt/serve"))
    assert all(map(contract.has, ("sh", "/bin/sh", "/usr/bin/sh", "/opt/serve")))
    assert not any(map(contract.has, ("serve", "/opt/sh", "bash", "/bin/serve")))


def write(project: Project, text: str, name: str = "cache") -> Path:
    path = project.root / "images" / name / "contract.yml"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text", ["services: [", "", "[]", "services: [redis]", WRITTEN + "breaks: [x]", WRITTEN.replace('"0755"', "no")]
)
def test_an_invalid_contract_is_an_error_with_a_fix(project: Project, text: str) -> None:
    write(project, text)
    with pytest.raises(ToolkitError, match=r"cannot read images/cache/contract\.yml: (.|\n)+\n  fix: python"):
        load(project.root)


def test_the_images_of_a_set(project: Project, docker: FakeDocker) -> None:
    """Images of services, base images and images of build stages; without those that the set lacks."""
    write(project, WRITTEN)
    write(project, WRITTEN.replace("redis]", "app, worker]") + "base: PYTHON_IMAGE\n", "python")
    write(project, WRITTEN.replace("redis]", "app]") + "base: MAVEN_IMAGE\nbuilder: true\n", "maven")
    write(project, WRITTEN.replace("redis]", "loki]"), "loki")
    built = {"image": "app:1", "build": {"args": {"PYTHON_IMAGE": "python:3", "MAVEN_IMAGE": "maven:3"}}, "user": "5:5"}
    service = {"image": NAME, "user": "7:7"}
    docker.on("config", stdout=configuration(app=built, worker=built, redis=service, loki=service | {"image": "l:1"}))
    assert [(image.name, image.user, image.contract.name) for image in images(project, docker.cli, PULLED)] == [
        (NAME, "7:7", "cache"), ("l:1", "7:7", "loki"), ("maven:3", "999:1000", "maven"), ("python:3", "5:5", "python"),
    ]  # fmt: skip
    absent = service | {"profiles": ["absent"]}
    local = built | {"image": "netmon-local/app", "build": {}}
    docker.on("config", stdout=configuration(app=local, redis=service, loki=absent))
    found = images(project, docker.cli, LOCAL)
    assert [image.name for image in found] == [NAME, "netmon-local/app"]
    assert {image.contract.config.user for image in found} == {"1:1"}


def test_missing_images_are_skipped(project: Project, engine: Engine) -> None:
    present, missing = check(engine.docker.cli, [IMAGE, replace(IMAGE, name="docker.io/library/cache:2")])
    assert (present.outcome, missing.outcome) == (Outcome.OK, Outcome.SKIPPED)
    engine.config["Cmd"] = []
    assert check(engine.docker.cli, [IMAGE])[0].outcome is Outcome.FAILED
    write(project, WRITTEN)
    engine.docker.on("config", stdout=configuration(redis={"image": "docker.io/library/cache:2", "user": "7:7"}))
    with pytest.raises(ToolkitError, match="none of the published images is on this host"):
        check_published(project, engine.docker.cli)


def test_an_unreachable_engine_is_an_error(docker: FakeDocker) -> None:
    docker.on("image", "inspect", stderr="Cannot connect to the Docker daemon", code=1)
    with pytest.raises(ToolkitError, match="Cannot connect"):
        check(docker.cli, [IMAGE])


def test_a_missing_image_never_counts_as_passed() -> None:
    assert Checked(IMAGE, None).outcome is Outcome.SKIPPED
    assert Checked(IMAGE, ()).outcome is Outcome.OK
