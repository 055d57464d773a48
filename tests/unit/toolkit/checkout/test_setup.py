"""The setup of a checkout: complete, idempotent, preserving the user's changes."""

from __future__ import annotations

import stat

import pytest

from toolkit.checkout import credentials
from toolkit.checkout.project import Project
from toolkit.checkout.setup import passwords, settings, setup
from toolkit.core import envfile, files
from toolkit.core.errors import ToolkitError

GOOD = "0123456789abcdef"
DEV = "docker-compose.yml:docker-compose.monitoring.yml:docker-compose.dev.yml"
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 (must be refused)


def test_setup_of_a_fresh_checkout(project: Project) -> None:
    done = setup(project, None)
    assert done[0] == "created secrets/postgres_password.txt"
    assert done[-1].startswith(".env: COMPOSE_FILE, COMPOSE_PROFILES, NETMON_PROFILE, POSTGRES_PASSWORD")
    assert project.env == {
        "COMPOSE_FILE": DEV,
        "COMPOSE_PROFILES": "monitoring",
        "NETMON_PROFILE": "dev",
        **passwords(project, "dev"),
    }
    assert "POSTGRES_APP_PASSWORD" in project.env
    assert "KAFKA_APP_PASSWORD" not in project.env, "no compose file interpolates it"
    assert stat.S_IMODE(project.env_file.stat().st_mode) == 0o600


def test_a_second_run_changes_nothing(project: Project) -> None:
    setup(project, None)
    assert setup(project, None) == []


def test_the_users_lines_are_preserved(project: Project) -> None:
    project.env_file.write_text("# my port\nAPP_PORT=3333\n")
    setup(project, None)
    assert project.env_file.read_text().startswith("# my port\nAPP_PORT=3333\n")


def test_a_profile_with_the_secrets_layer_keeps_passwords_out_of_env(project: Project) -> None:
    setup(project, "dev")
    before = passwords(project, "dev")
    setup(project, "prod")
    assert {project.env[variable] for variable in before} == {"unused"}
    assert "docker-compose.secrets.yml" in project.env["COMPOSE_FILE"]
    setup(project, None)
    assert project.profile == "prod", "the profile stays until another one is requested"
    setup(project, "dev")
    assert passwords(project, "dev") == before
    assert before.items() <= project.env.items()


def test_a_run_interrupted_between_secrets_and_env_is_completed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_arguments: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(envfile, "update", kill)
        with pytest.raises(KeyboardInterrupt):
            setup(project, None)
    before = passwords(project, "dev")
    assert not project.env_file.exists()
    setup(project, None)
    assert passwords(project, "dev") == before
    assert before.items() <= project.env.items()


def test_temporary_files_of_env_are_removed(project: Project) -> None:
    leftover = project.root / "..env.x7"
    leftover.write_text("POSTGRES_PASS")
    setup(project, None)
    assert not leftover.exists()


@pytest.mark.parametrize(
    ("groups", "before", "after"),
    [
        (None, None, "monitoring"),
        (None, "", ""),
        (None, "mine", "mine"),
        ([], "monitoring,mine", "mine"),
        (["monitoring"], "mine", "monitoring,mine"),
        (["jaeger", "monitoring"], None, "monitoring,jaeger"),
    ],
)
def test_groups_preserve_profiles(project: Project, groups: list[str] | None, before: str | None, after: str) -> None:
    if before is not None:
        project.env_file.write_text(f"COMPOSE_PROFILES={before}\n")
    setup(project, None, groups=groups)
    assert project.env["COMPOSE_PROFILES"] == after


def test_the_layer_of_a_group_is_merged_while_the_group_is_on(project: Project) -> None:
    setup(project, "dev", images="local", groups=["monitoring", "jaeger"])
    assert project.env["COMPOSE_FILE"] == (
        f"{DEV}:docker-compose.jaeger.yml:images/compose.yml:images/compose.monitoring.yml"
    )
    setup(project, None, groups=["monitoring"])
    assert project.env["COMPOSE_FILE"] == f"{DEV}:images/compose.yml:images/compose.monitoring.yml"


@pytest.mark.parametrize("images", [None, "local", "pulled"])
@pytest.mark.parametrize("profile", ["dev", "prod"])
def test_a_layer_that_is_new_is_added_to_the_list_of_a_checkout_that_was_set_up_before(
    project: Project, profile: str, images: str | None
) -> None:
    setup(project, profile, images)
    after = project.env
    before = [name for name in after["COMPOSE_FILE"].split(":") if "monitoring" not in name]
    envfile.update(project.env_file, {"COMPOSE_FILE": ":".join(before)})
    assert setup(project, None) == [".env: COMPOSE_FILE set"]
    assert project.env == after


def test_the_engines_folder_is_written_if_it_is_not_the_default(project: Project) -> None:
    setup(project, None, folder="/var/lib/docker")
    assert "DOCKER_ROOT_DIR" not in project.env
    assert setup(project, None, folder="/srv/docker") == [".env: DOCKER_ROOT_DIR set"]
    setup(project, None)
    assert project.env["DOCKER_ROOT_DIR"] == "/srv/docker", "an engine that does not answer changes nothing"
    setup(project, None, folder="/var/lib/docker")
    assert project.env["DOCKER_ROOT_DIR"] == "/var/lib/docker"


def test_the_image_set_is_recorded_and_preserved(project: Project) -> None:
    assert "NETMON_IMAGES" not in settings(project)
    setup(project, None, images="local")
    setup(project, "prod")
    assert project.images == "local"
    assert project.env["COMPOSE_FILE"].endswith(":images/compose.monitoring.yml:images/compose.prod.yml")
    setup(project, "dev", images="pulled")
    assert project.env["COMPOSE_FILE"] == DEV


def test_files_of_the_user_stay_before_the_override(project: Project) -> None:
    for name in ("gpu.yml", "docker-compose.override.yml"):
        (project.root / name).write_text("services: {}\n")
    project.env_file.write_text("COMPOSE_FILE=docker-compose.yml:gpu.yml:gone.yml:docker-compose.security.yml\n")
    setup(project, "dev", images="local")
    assert project.env["COMPOSE_FILE"] == (
        f"{DEV}:images/compose.yml:images/compose.monitoring.yml:gpu.yml:docker-compose.override.yml"
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"profile": "staging"}, "unknown profile 'staging'"),
        ({"profile": None, "images": "both"}, "unknown image set 'both'"),
        ({"profile": None, "groups": ["jaguar"]}, "unknown group 'jaguar'"),
    ],
)
def test_unknown_names_are_usage_errors_and_change_nothing(
    project: Project, arguments: dict[str, object], problem: str
) -> None:
    with pytest.raises(ToolkitError, match=problem) as error:
        setup(project, **arguments)  # type: ignore[arg-type]
    assert error.value.code == 2
    assert not project.env_file.exists()
    assert not project.secrets_dir.exists()


@pytest.mark.parametrize("address", [EVERY_ADDRESS, "192.168.1.5", "::", "[2001:db8::1]", "localhost", "nonsense"])
def test_a_bind_address_outside_loopback_is_refused(project: Project, address: str) -> None:
    project.env_file.write_text(f"BIND_ADDRESS={address}\n")
    with pytest.raises(ToolkitError, match="loopback"):
        setup(project, "dev")
    assert not project.secrets_dir.exists()
    setup(project, "prod")  # which does not use it


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "[::1]", "::1", ""])
def test_loopback_addresses_are_accepted(project: Project, address: str) -> None:
    project.env_file.write_text(f"BIND_ADDRESS={address}\n")
    setup(project, "dev")


def test_a_bind_address_in_the_shell_takes_precedence(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIND_ADDRESS", EVERY_ADDRESS)
    project.env_file.write_text("BIND_ADDRESS=127.0.0.1\n")
    with pytest.raises(ToolkitError, match="loopback"):
        setup(project, "dev")


@pytest.mark.parametrize("password", ["p@ss", f"{GOOD}$x", f"{GOOD} x"])
def test_an_invalid_password_of_the_user_is_reported_with_its_file(project: Project, password: str) -> None:
    setup(project, None)
    path = credentials.path_of(project, "redis_password")
    path.write_text(password)
    before = project.env_file.read_text()
    with pytest.raises(ToolkitError, match=r"redis_password\.txt is invalid") as error:
        setup(project, None)
    assert credentials.RULE in str(error.value)
    assert password not in str(error.value)
    assert project.env_file.read_text() == before


def test_setup_during_another_run_is_an_error(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with files.exclusive(project.lock_file, "be the other run"), monkeypatch.context() as patched:
        patched.setattr(files, "_held_locks", set())
        with pytest.raises(ToolkitError, match="another run"):
            setup(project, None)
    assert not project.env_file.exists()
