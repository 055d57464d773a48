"""The images of a set, and its completion by pulls and builds."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.unit.toolkit.conftest import CHECKOUT, FakeDocker, configuration
from tests.unit.toolkit.images.fake_image_engine import (
    APP,
    LOCAL_APP,
    LOCAL_POSTGRES,
    LOCAL_REDIS,
    NO_HOST,
    POSTGRES,
    REDIS,
    Engine,
)
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.core import envfile
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Result
from toolkit.images import Image, build, build_digest, builds, choose, images_of, list_images, provide, pull, ready


@pytest.fixture
def engine(docker: FakeDocker, project: Project) -> Engine:
    setup(project, "dev")
    return Engine(docker)


def test_one_image_serves_several_services(project: Project, engine: Engine) -> None:
    assert images_of(project, engine.docker.cli, "pulled") == [
        Image(APP, ("app", "worker"), built=True),
        Image(POSTGRES, ("db",), built=False),
        Image(REDIS, ("redis",), built=False),
    ]


@pytest.mark.parametrize(("settings", "built"), [("", False), ("APP_CONTEXT=./mine\n", True)])
def test_a_custom_application_is_built_if_it_has_a_context(
    project: Project, docker: FakeDocker, settings: str, built: bool
) -> None:
    project.env_file.write_text(f"APP_IMAGE=mine:1\n{settings}")
    docker.on("config", stdout=configuration(app={"image": "mine:1", "build": {}}, worker={"image": APP, "build": {}}))
    assert images_of(project, docker.cli, "pulled") == [
        Image("mine:1", ("app",), built=built),
        Image(APP, ("worker",), built=True),
    ]


def test_provide_builds_only_missing_images(
    project: Project, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    setup(project, None, images="local")
    engine.images = {LOCAL_REDIS, LOCAL_APP}
    assert not ready(project, engine.docker.cli)
    provide(project, engine.docker.cli)
    assert [argv[-1] for argv in engine.docker.ran("compose", "build")] == ["db"]
    assert len(engine.docker.ran(str(project.root / "scripts" / "base-image.sh"))) == 1
    assert f"built {LOCAL_POSTGRES}" in capsys.readouterr().out
    assert ready(project, engine.docker.cli)
    engine.docker.calls.clear()
    provide(project, engine.docker.cli)
    assert engine.docker.ran("build") == []


def test_provide_pulls_published_images_and_builds_the_application(project: Project, engine: Engine) -> None:
    setup(project, None, images="pulled")
    engine.registry = Result(0, "", "")
    provide(project, engine.docker.cli)
    assert {argv[-1] for argv in engine.docker.ran("pull")} == {POSTGRES, REDIS}
    assert [argv[-1] for argv in engine.docker.ran("compose", "build")] == ["app"]
    assert engine.docker.ran(str(project.root / "scripts" / "base-image.sh")) == []
    assert ready(project, engine.docker.cli)


def test_provide_for_another_profile(project: Project, engine: Engine) -> None:
    setup(project, "dev", images="local")
    provide(project, engine.docker.cli, "prod")
    files = [environment.get("COMPOSE_FILE") or "" for environment in engine.docker.environments]
    assert any(name.endswith("images/compose.prod.yml") for name in files)
    assert project.profile == "dev"


def test_provide_without_a_chosen_set_is_an_error(project: Project, engine: Engine) -> None:
    with pytest.raises(ToolkitError, match="no image set was chosen"):
        provide(project, engine.docker.cli)


def test_a_failed_pull_reports_the_image_and_a_fix(project: Project, engine: Engine) -> None:
    engine.images = {REDIS}
    engine.registry = Result(1, "", "Error response from daemon: manifest unknown")
    setup(project, None, images="pulled")
    why = f"cannot pull {POSTGRES}: the image does not exist in the registry (manifest unknown)"
    with pytest.raises(ToolkitError, match=re.escape(why)) as error:
        provide(project, engine.docker.cli)
    assert "correct the tag" in error.value.fix


def test_a_failed_build_shows_its_last_lines_and_saves_its_log(project: Project, engine: Engine) -> None:
    engine.images = {LOCAL_APP, LOCAL_REDIS}
    output = "\n".join(f"step {number}" for number in range(40))
    engine.docker.on("compose", "build", code=1, stderr=output)
    setup(project, None, images="local")
    with pytest.raises(ToolkitError, match=f"cannot build {LOCAL_POSTGRES}") as error:
        provide(project, engine.docker.cli)
    assert "step 39" in error.value.why
    assert "step 20" not in error.value.why
    log = project.root / ".netmon" / "build-db.log"
    assert str(log) in error.value.fix
    assert log.read_text() == output


@pytest.fixture
def current(project: Project, engine: Engine) -> Engine:
    """An engine with every local image; application and Redis are built from folders of the checkout."""
    setup(project, None, images="local")
    for service, folder in (("app", "app"), ("redis", "images/redis")):
        (project.root / folder).mkdir(parents=True)
        (project.root / folder / "Dockerfile").write_text("FROM scratch")
        engine.contexts[service] = str(project.root / folder)
    for base in build_digest.BASES:
        (project.root / base).mkdir()
    provide(project, engine.docker.cli)
    engine.docker.calls.clear()
    return engine


def test_current_images_are_not_rebuilt(project: Project, current: Engine) -> None:
    provide(project, current.docker.cli)
    assert current.docker.ran("build") == []
    assert len(current.docker.ran("image", "inspect")) == 1


def test_stale_images_are_rebuilt(project: Project, current: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    (project.root / "images/redis/Dockerfile").write_text("FROM other")
    provide(project, current.docker.cli)
    assert [argv[-1] for argv in current.docker.ran("compose", "build")] == ["redis"]
    assert f"stale, built from an earlier state of this checkout: {LOCAL_REDIS}\n" in capsys.readouterr().out
    current.docker.calls.clear()
    provide(project, current.docker.cli)
    assert current.docker.ran("build") == []


def test_an_image_without_a_build_digest_is_rebuilt(project: Project, current: Engine) -> None:
    del current.labels[LOCAL_APP]
    provide(project, current.docker.cli)
    assert [argv[-1] for argv in current.docker.ran("compose", "build")] == ["app"]


def test_a_release_is_never_stale(project: Project, current: Engine) -> None:
    envfile.update(project.env_file, {"NETMON_RELEASE": "dev"})
    (project.root / "app/Dockerfile").write_text("FROM other")
    provide(project, current.docker.cli)
    assert current.docker.ran("build") == []


def test_an_unreadable_context_is_reported(project: Project, current: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied", "app/Dockerfile")

    monkeypatch.setattr(build_digest, "digest", refuse)
    with pytest.raises(ToolkitError, match="cannot read app/Dockerfile: Permission denied"):
        provide(project, current.docker.cli)


def test_a_failed_build_of_the_base_is_an_error(project: Project, engine: Engine) -> None:
    engine.docker.on(str(project.root / "scripts" / "base-image.sh"), code=1)
    setup(project, None, images="local")
    with pytest.raises(ToolkitError, match="base of the local images"):
        provide(project, engine.docker.cli)
    assert engine.docker.ran("compose", "build") == []


def test_build_rebuilds_all_images_and_chooses_local_by_default(project: Project, engine: Engine) -> None:
    engine.images = {LOCAL_APP, LOCAL_POSTGRES, LOCAL_REDIS}
    build(project, engine.docker.cli)
    assert project.images == "local"
    assert {argv[-1] for argv in engine.docker.ran("compose", "build")} == {"app", "db", "redis"}


def test_the_longest_builds_start_first(project: Project, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builds, "AT_ONCE", 1)
    settings = project.root / "invoke.yaml"
    settings.write_text(re.sub(r"longest_builds: .*", "longest_builds: [redis]", settings.read_text()))
    build(Project.load(project.root), engine.docker.cli)
    assert [argv[-1] for argv in engine.docker.ran("compose", "build")] == ["redis", "app", "db"]


def test_the_longest_builds_are_images_of_the_local_set() -> None:
    files = [(CHECKOUT / name).read_text() for name in ("images/compose.yml", "images/compose.monitoring.yml")]
    layers = [yaml.safe_load(re.sub(r"!(reset|override) ", "", text)) for text in files]
    built = {name for layer in layers for name, service in layer["services"].items() if "build" in service}
    assert set(Project.load(CHECKOUT).data["longest_builds"]) <= built


def test_build_with_pulled_images_builds_only_the_application(project: Project, engine: Engine) -> None:
    setup(project, None, images="pulled")
    build(project, engine.docker.cli)
    assert [argv[-1] for argv in engine.docker.ran("compose", "build")] == ["app"]


def test_pull_does_not_change_the_chosen_set(project: Project, engine: Engine) -> None:
    setup(project, None, images="local")
    engine.registry = Result(0, "", "")
    pull(project, engine.docker.cli)
    assert {argv[-1] for argv in engine.docker.ran("pull")} == {POSTGRES, REDIS}
    assert project.images == "local"


@pytest.mark.parametrize(
    ("shell", "configured", "arguments"),
    [
        ("", Result(1, "", "no such key"), []),
        ("", Result(0, "http://index.test/simple\n", ""), ["--build-arg=PIP_INDEX_URL=http://index.test/simple"]),
        ("http://shell.test/", Result(1, "", ""), ["--build-arg=PIP_INDEX_URL=http://shell.test/"]),
        ("http://user:password@index.test/", Result(1, "", ""), []),
    ],
)
def test_the_package_index_of_this_host_is_passed_unless_it_contains_a_password(
    project: Project, engine: Engine, monkeypatch: pytest.MonkeyPatch,
    shell: str, configured: Result, arguments: list[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("PIP_INDEX_URL", shell)
    engine.docker.answer("pip", "config", by=configured)
    setup(project, None, images="pulled")
    build(project, engine.docker.cli)
    [command] = engine.docker.ran("compose", "build")
    assert [word for word in command if word.startswith("--build-arg")] == arguments


def test_list_images_has_both_sets_and_local_sizes(project: Project, engine: Engine) -> None:
    engine.images = {LOCAL_REDIS}
    setup(project, None, images="local")
    rows = list_images(project, engine.docker.cli)
    assert [row.name for row in rows] == [LOCAL_APP, LOCAL_POSTGRES, LOCAL_REDIS, APP, POSTGRES, REDIS]
    assert [(row.sets, row.size) for row in rows if row.size] == [(("local",), 100)]


PYTHON = "docker.io/library/python:3"


@pytest.fixture
def based(engine: Engine) -> Engine:
    """An engine of a project whose application has a published base image."""
    engine.arguments = {"PYTHON_IMAGE": PYTHON, "APP_VERSION": "dev", "OTHER_IMAGE": None}
    engine.registry = Result(0, "", "")
    return engine


def test_a_base_is_pulled_before_its_build_and_not_afterwards(project: Project, based: Engine) -> None:
    setup(project, None, images="pulled")
    provide(project, based.docker.cli)
    assert {argv[-1] for argv in based.docker.ran("pull")} == {POSTGRES, REDIS, PYTHON}
    order = [argv[1] for argv in based.docker.calls if argv[1] == "pull" or "build" in argv]
    assert order == ["pull", "pull", "pull", "compose"]
    based.images.remove(PYTHON)
    based.docker.calls.clear()
    provide(project, based.docker.cli)
    assert ready(project, based.docker.cli)
    assert based.docker.ran("pull") == based.docker.ran("build") == []


def test_an_existing_base_needs_no_registry(project: Project, based: Engine) -> None:
    based.images = {POSTGRES, REDIS, PYTHON}
    based.registry = NO_HOST
    assert choose(project, based.docker.cli, "auto", yes=False) == "pulled"
    provide(project, based.docker.cli)
    assert based.docker.ran("pull") == []
    [environment] = [each for each in based.docker.environments if "BUILDX_BUILDER" in each]
    assert environment["BUILDX_BUILDER"] == "default", "other builders contact the registry"


def test_a_set_without_the_base_of_the_application_is_incomplete(project: Project, based: Engine) -> None:
    based.images = {POSTGRES, REDIS}
    based.registry = NO_HOST
    assert choose(project, based.docker.cli, "auto", yes=False) == "local"


def test_an_existing_application_needs_no_base(project: Project, based: Engine) -> None:
    based.images = {POSTGRES, REDIS, APP}
    based.registry = NO_HOST
    assert choose(project, based.docker.cli, "auto", yes=False) == "pulled"


def test_the_local_set_has_no_published_base(project: Project, based: Engine) -> None:
    setup(project, None, images="local")
    provide(project, based.docker.cli)
    assert based.docker.ran("pull") == []


def test_a_base_is_listed_and_pulled(project: Project, based: Engine) -> None:
    setup(project, None, images="pulled")
    [row] = [row for row in list_images(project, based.docker.cli) if row.name == PYTHON]
    assert (row.used_by, row.built, row.sets, row.size) == ("base of app", False, ("pulled",), None)
    pull(project, based.docker.cli)
    assert {argv[-1] for argv in based.docker.ran("pull")} == {POSTGRES, REDIS, PYTHON}
    based.images.clear()
    based.docker.calls.clear()
    build(project, based.docker.cli)
    assert {argv[-1] for argv in based.docker.ran("pull")} == {PYTHON}


def test_the_builder_is_the_one_of_the_docker_context(project: Project, based: Engine) -> None:
    based.docker.on("context", "show", stdout="rootless\n")
    setup(project, None, images="pulled")
    provide(project, based.docker.cli)
    assert [each["BUILDX_BUILDER"] for each in based.docker.environments if "BUILDX_BUILDER" in each] == ["rootless"]


def test_provide_includes_requested_groups_that_are_off(project: Project, engine: Engine) -> None:
    setup(project, None, images="local")
    provide(project, engine.docker.cli, groups=project.groups)
    groups = {each.get("COMPOSE_PROFILES") for each in engine.docker.environments if each.get("COMPOSE_FILE")}
    assert groups == {",".join(project.groups)}, "for the list of images and for the builds"
    assert any("docker-compose.jaeger.yml" in (each.get("COMPOSE_FILE") or "") for each in engine.docker.environments)
    assert "jaeger" not in project.env["COMPOSE_PROFILES"]
