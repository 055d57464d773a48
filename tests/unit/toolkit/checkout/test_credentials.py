"""Validation, generation and storage of credentials."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from toolkit.checkout import credentials
from toolkit.checkout.project import Project
from toolkit.checkout.setup import setup
from toolkit.core.errors import ToolkitError

GOOD = "0123456789abcdef"


@pytest.mark.parametrize("value", [GOOD, "A-_" + GOOD, "a" * 128])
def test_a_value_that_needs_no_escaping_is_valid(value: str) -> None:
    assert credentials.problem(value) is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "empty"),
        ("a" * 15, "too short"),
        ("a" * 129, "too long"),
        ("-" + GOOD, "start"),
        ("_" + GOOD, "start"),
        *[(f"{GOOD}{character}{GOOD}", "not allowed") for character in "@:/?#%$'\"` \\&=\t\n\r\0äé٣"],
    ],
)
def test_any_other_value_is_invalid_with_its_reason(value: str, reason: str) -> None:
    problem = credentials.problem(value)
    assert problem
    assert reason in problem
    assert not value or value not in problem


def test_generated_values_are_valid_and_unique() -> None:
    values = {credentials.generate() for _ in range(500)}
    assert len(values) == 500
    assert {credentials.problem(value) for value in values} == {None}


def test_a_token_file_has_one_token_per_line_and_the_first_is_in_use(project: Project) -> None:
    setup(project, "dev")
    secret, other = project.secrets["api_token"], "9" * 16
    path = credentials.path_of(project, secret.name)
    for end in ("", "\n"):
        path.write_text(f"{GOOD}\n{other}{end}")
        assert credentials.load_all(project, secret) == [GOOD, other]
        assert credentials.load(project, secret) == credentials.first_line(project, secret.name) == GOOD
        assert credentials.authorization(project) == {"Authorization": f"Bearer {GOOD}"}


@pytest.mark.parametrize(
    "content", ["", "\n", f"{GOOD}\n\n{GOOD}", f"{GOOD}\nshort", f"{GOOD} {GOOD}", f"{GOOD}\r\n{GOOD}"]
)
def test_a_token_file_with_an_invalid_line_is_an_error(project: Project, content: str) -> None:
    setup(project, "dev")
    credentials.path_of(project, "api_token").write_bytes(content.encode())
    with pytest.raises(ToolkitError, match=r"secrets/api_token\.txt is invalid") as caught:
        credentials.load(project, project.secrets["api_token"])
    assert GOOD not in str(caught.value)


@pytest.fixture
def path(project: Project) -> Path:
    project.secrets_dir.mkdir()
    return credentials.path_of(project, "redis_password")


def loaded(project: Project, name: str = "redis_password") -> str:
    return credentials.load(project, project.secrets[name])


@pytest.mark.parametrize("content", [GOOD, f"{GOOD}\n"])
def test_one_trailing_newline_is_ignored(project: Project, path: Path, content: str) -> None:
    path.write_text(content)
    assert loaded(project) == GOOD


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (f"{GOOD}\n\n".encode(), "not allowed"),
        (f"{GOOD}\r\n".encode(), "not allowed"),
        (b"\xff\xfe" + GOOD.encode(), "not plain text"),
        (GOOD.encode() * 65536, "too long"),
    ],
)
def test_an_invalid_file_is_reported_without_its_value(
    project: Project, path: Path, content: bytes, reason: str
) -> None:
    path.write_bytes(content)
    with pytest.raises(ToolkitError, match=reason) as error:
        loaded(project)
    assert "secrets/redis_password.txt" in error.value.what
    assert GOOD not in str(error.value)
    assert error.value.fix


def test_a_missing_or_unreadable_file_is_reported(project: Project, path: Path) -> None:
    with pytest.raises(ToolkitError, match=r"redis_password\.txt is missing"):
        loaded(project)
    path.mkdir()
    with pytest.raises(ToolkitError, match=r"cannot read .*redis_password\.txt"):
        loaded(project)


def test_an_account_with_two_users_starts_with_the_first(project: Project) -> None:
    credentials.ensure(project)
    secret = project.secrets["postgres_app_password"]
    assert credentials.user_of(project, secret) == "netmon_a"
    credentials.path_of(project, "postgres_app_user").write_text("netmon_b\n")
    assert credentials.user_of(project, secret) == "netmon_b"
    assert credentials.user_of(project, project.secrets["redis_password"]) == "admin"


@pytest.mark.parametrize("content", ["", "postgres", "netmon_c", "netmon_a netmon_b", "-netmon_a"])
def test_a_user_of_another_account_is_invalid(project: Project, content: str) -> None:
    credentials.ensure(project)
    credentials.path_of(project, "postgres_app_user").write_text(content)
    with pytest.raises(ToolkitError, match=r"secrets/postgres_app_user\.txt is invalid"):
        credentials.ensure(project)


def content(project: Project) -> dict[str, str]:
    return {path.name: path.read_text() for path in project.secrets_dir.glob("*.txt")}


def test_missing_credentials_are_created(project: Project) -> None:
    project.secrets_dir.mkdir(mode=0o755)
    assert credentials.ensure(project) == list(project.secrets)
    assert content(project).keys() == {f"{name}.txt" for name in project.secrets}
    assert stat.S_IMODE(project.secrets_dir.stat().st_mode) == 0o700
    for name in project.secrets:
        assert stat.S_IMODE(credentials.path_of(project, name).stat().st_mode) == 0o644
        assert not credentials.path_of(project, name).read_text().endswith("\n")
    assert credentials.read(project).keys() == {secret.variable for secret in project.secrets.values()}


def test_existing_credentials_are_not_changed(project: Project) -> None:
    credentials.ensure(project)
    credentials.path_of(project, "redis_password").write_text(GOOD)
    before = content(project)
    assert credentials.ensure(project) == []
    assert content(project) == before


def test_a_checkout_with_fewer_credentials_is_completed(project: Project) -> None:
    project.secrets_dir.mkdir()
    old = ["postgres_password", "redis_password", "rabbitmq_password", "grafana_admin_password"]
    for name in old:
        credentials.path_of(project, name).write_text(f"{credentials.generate()}\n")
    before = content(project)
    assert credentials.ensure(project) == [name for name in project.secrets if name not in old]
    assert before.items() <= content(project).items()


def test_a_value_in_env_without_a_file_becomes_the_secret(project: Project) -> None:
    project.env_file.write_text(
        f"REDIS_PASSWORD={GOOD}\nPOSTGRES_PASSWORD=unused\nRABBITMQ_PASSWORD=\nPOSTGRES_APP_USER=netmon_b\n"
    )
    credentials.ensure(project)
    values = credentials.read(project)
    assert values["REDIS_PASSWORD"] == GOOD
    assert values["POSTGRES_APP_USER"] == "netmon_b"
    assert values["POSTGRES_PASSWORD"] not in {"unused", ""}


def test_an_invalid_value_in_env_is_an_error_before_anything_is_written(project: Project) -> None:
    project.env_file.write_text("RABBITMQ_PASSWORD=p@ss:word/0123456789\n")
    with pytest.raises(ToolkitError, match=r"RABBITMQ_PASSWORD in \.env is invalid") as error:
        credentials.ensure(project)
    assert "p@ss" not in str(error.value)
    assert not project.secrets_dir.exists()


def test_different_values_in_file_and_env_are_an_error(project: Project) -> None:
    credentials.ensure(project)
    credentials.path_of(project, "postgres_password").unlink()
    project.env_file.write_text(f"REDIS_PASSWORD={GOOD}\n")
    before = content(project)
    with pytest.raises(ToolkitError, match=r"redis_password.txt and REDIS_PASSWORD in .env differ") as error:
        credentials.ensure(project)
    assert GOOD not in str(error.value)
    assert content(project) == before


def test_temporary_files_of_a_killed_run_are_removed(project: Project) -> None:
    project.secrets_dir.mkdir()
    leftover = project.secrets_dir / ".redis_password.txt.x7"
    leftover.write_text("half")
    credentials.ensure(project)
    assert not leftover.exists()


def test_a_folder_that_cannot_be_created_is_an_error(project: Project) -> None:
    project.secrets_dir.write_text("a file")
    with pytest.raises(ToolkitError, match="cannot create"):
        credentials.ensure(project)


def test_files_are_made_readable_for_containers(project: Project) -> None:
    credentials.ensure(project)
    path = credentials.path_of(project, "redis_password")
    path.chmod(0o600)
    assert credentials.protect(project) == ["secrets/redis_password.txt: made readable for the containers"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert credentials.protect(project) == []
