"""Setting a checkout up: complete, repeatable, and never at the cost of what the user wrote."""

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
EVERYWHERE = "0.0.0.0"  # noqa: S104 (what must be refused)


def test_a_fresh_checkout(project: Project) -> None:
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
    assert "KAFKA_APP_PASSWORD" not in project.env, "no compose file takes it from there"
    assert stat.S_IMODE(project.env_file.stat().st_mode) == 0o600


def test_a_second_run_does_nothing(project: Project) -> None:
    setup(project, None)
    assert setup(project, None) == []


def test_the_users_lines_stay(project: Project) -> None:
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
    assert project.profile == "prod", "the profile stays until another one is asked for"
    setup(project, "dev")
    assert passwords(project, "dev") == before
    assert before.items() <= project.env.items()


def test_a_run_that_was_cut_off_between_secrets_and_env_is_completed(
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


def test_a_half_written_env_is_removed(project: Project) -> None:
    left = project.root / "..env.x7"
    left.write_text("POSTGRES_PASS")
    setup(project, None)
    assert not left.exists()


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
def test_groups(project: Project, groups: list[str] | None, before: str | None, after: str) -> None:
    if before is not None:
        project.env_file.write_text(f"COMPOSE_PROFILES={before}\n")
    setup(project, None, groups=groups)
    assert project.env["COMPOSE_PROFILES"] == after


def test_the_layer_of_a_group_comes_and_goes_with_it(project: Project) -> None:
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


def test_the_engines_folder_is_written_where_it_is_not_the_usual_one(project: Project) -> None:
    setup(project, None, folder="/var/lib/docker")
    assert "DOCKER_ROOT_DIR" not in project.env
    assert setup(project, None, folder="/srv/docker") == [".env: DOCKER_ROOT_DIR set"]
    setup(project, None)
    assert project.env["DOCKER_ROOT_DIR"] == "/srv/docker", "an engine that does not answer changes nothing"
    setup(project, None, folder="/var/lib/docker")
    assert project.env["DOCKER_ROOT_DIR"] == "/var/lib/docker"


def test_images_are_recorded_and_kept(project: Project) -> None:
    assert "NETMON_IMAGES" not in settings(project)
    setup(project, None, images="local")
    setup(project, "prod")
    assert project.images == "local"
    assert project.env["COMPOSE_FILE"].endswith(":images/compose.monitoring.yml:images/compose.prod.yml")
    setup(project, "dev", images="pulled")
    assert project.env["COMPOSE_FILE"] == DEV


def test_files_of_the_user_stay_in_front_of_the_override(project: Project) -> None:
    for name in ("gpu.yml", "docker-compose.override.yml"):
        (project.root / name).write_text("services: {}\n")
    project.env_file.write_text("COMPOSE_FILE=docker-compose.yml:gpu.yml:gone.yml:docker-compose.security.yml\n")
    setup(project, "dev", images="local")
    assert project.env["COMPOSE_FILE"] == (
        f"{DEV}:images/compose.yml:images/compose.monitoring.yml:gpu.yml:docker-compose.override.yml"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"profile": "staging"}, "unknown profile 'staging'"),
        ({"profile": None, "images": "both"}, "unknown image set 'both'"),
        ({"profile": None, "groups": ["jaguar"]}, "unknown group 'jaguar'"),
    ],
)
def test_unknown_names_are_wrong_usage_and_change_nothing(
    project: Project, arguments: dict[str, object], said: str
) -> None:
    with pytest.raises(ToolkitError, match=said) as error:
        setup(project, **arguments)  # type: ignore[arg-type]
    assert error.value.code == 2
    assert not project.env_file.exists()
    assert not project.secrets_dir.exists()


@pytest.mark.parametrize("address", [EVERYWHERE, "192.168.1.5", "::", "[2001:db8::1]", "localhost", "nonsense"])
def test_a_bind_address_that_others_can_reach_is_refused(project: Project, address: str) -> None:
    project.env_file.write_text(f"BIND_ADDRESS={address}\n")
    with pytest.raises(ToolkitError, match="loopback"):
        setup(project, "dev")
    assert not project.secrets_dir.exists()
    setup(project, "prod")  # which does not use it


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "[::1]", "::1", ""])
def test_loopback_addresses_are_accepted(project: Project, address: str) -> None:
    project.env_file.write_text(f"BIND_ADDRESS={address}\n")
    setup(project, "dev")


def test_a_bind_address_of_the_shell_counts_first(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIND_ADDRESS", EVERYWHERE)
    project.env_file.write_text("BIND_ADDRESS=127.0.0.1\n")
    with pytest.raises(ToolkitError, match="loopback"):
        setup(project, "dev")


@pytest.mark.parametrize("password", ["p@ss", f"{GOOD}$x", f"{GOOD} x"])
def test_a_password_of_the_user_that_breaks_the_rule_is_refused_in_its_file(project: Project, password: str) -> None:
    setup(project, None)
    path = credentials.path_of(project, "redis_password")
    path.write_text(password)
    before = project.env_file.read_text()
    with pytest.raises(ToolkitError, match=r"redis_password\.txt is refused") as error:
        setup(project, None)
    assert credentials.RULE in str(error.value)
    assert password not in str(error.value)
    assert project.env_file.read_text() == before


def test_two_runs_take_turns(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with files.exclusive(project.lock_file, "be the other run"), monkeypatch.context() as patched:
        patched.setattr(files, "_held_locks", set())
        with pytest.raises(ToolkitError, match="another run"):
            setup(project, None)
    assert not project.env_file.exists()
