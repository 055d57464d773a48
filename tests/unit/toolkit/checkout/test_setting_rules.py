"""Every setting of .env.example arrives in the configuration byte for byte, or is refused with its rule."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.toolkit.conftest import CHECKOUT
from toolkit.checkout import credentials, setting_rules
from toolkit.checkout.project import Project
from toolkit.checkout.setting_rules import rule_of
from toolkit.checkout.setup import passwords, setup
from toolkit.checks.doctor.checkout import settings as doctor_settings
from toolkit.checks.doctor.subject import Subject
from toolkit.core import envfile, envsyntax
from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Docker

NASTY = 'x$HOME y#z$$q # " `id` {{.}} %s ü'
LITERAL = r"""a\b\n 'c' "d" *[e]; ü"""
"""Values with every special character: one that has to be quoted, and one that must not be."""

SETTINGS = re.findall(r"^#([A-Z_]+)=", (CHECKOUT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE)
CREDENTIALS = {each.variable: each for each in Project.load().secrets.values()}
WRITTEN = {"BACKUP_FOLDER", "COMPOSE_FILE", "NETMON_PROFILE"}
"""Written by the setup, which replaces other values."""

ARRIVING = {
    "BIND_ADDRESS": "127.0.0.77",
    "PROXY_BIND_ADDRESS": "192.0.2.77",
    "DOMAIN": "Monitor.example.org",
    "REGISTRY": "mirror.example:5000/hub",
    "REGISTRY_QUAY": "mirror.example:5001",
    "APP_IMAGE": f"registry.example:5000/team/my_app:1.2-rc_1@sha256:{'0' * 64}",
    "NETMON_RELEASE": "20260131-120000-1f2e3d4",
    "DOCKER_ROOT_DIR": "/srv/docker data",
    "APP_CONTEXT": "/srv/my app",
    "WORKER_REPLICAS": "77",
    "COMPOSE_PROJECT_NAME": "netmon-second_1",
    "COMPOSE_PROFILES": "monitoring,backup,jaeger",
    "NETMON_IMAGES": "pulled",
} | {name: str(20000 + number) for number, name in enumerate(SETTINGS) if name.endswith("_PORT")}
"""A valid value of every setting with a rule."""

REFUSED = {
    "BIND_ADDRESS": ["0.0.0.0", "localhost"],  # noqa: S104
    "PROXY_BIND_ADDRESS": ["localhost", "1.2.3", "1.2.3.4:80"],
    "DOMAIN": ["https://example.org", "example.org:443", "example.org/x", "a b", "-"],
    "REGISTRY": ["https://mirror", "mirror/", "a b", "mirror:port"],
    "REGISTRY_QUAY": ["https://mirror", "mirror/", "'a'b"],
    "APP_IMAGE": ["https://x/y", "x:y:z", "x y", "x@sha256:12"],
    "NETMON_RELEASE": ["a/b", "a:b", "-a", "x" * 129],
    "DOCKER_ROOT_DIR": ["docker", "/a:b"],
    "APP_CONTEXT": ["a:b", "https://example.org/app.git"],
    "WORKER_REPLICAS": ["-1", "two", "1.5", "10000"],
    "COMPOSE_PROJECT_NAME": ["Netmon", "a.b", "-a", "a b"],
    "COMPOSE_PROFILES": ["a b", "a;b"],
    "NETMON_IMAGES": ["pull", "Local"],
} | {name: ["0", "65536", "x", "-1", "1-2", "80 80", "٣"] for name in ARRIVING if name.endswith("_PORT")}
"""Invalid values of every setting with a rule."""

TEXTS = [name for name in SETTINGS if name not in {*CREDENTIALS, *WRITTEN, *ARRIVING}]
"""The settings with any text as their value."""


def texts(node: Any) -> Iterator[str]:
    """Every key and value in a configuration, with its dollar signs unescaped."""
    match node:
        case dict():
            for name, value in node.items():
                yield name
                yield from texts(value)
        case list():
            for value in node:
                yield from texts(value)
        case _:
            yield str(node).replace("$$", "$")


def configurations(project: Project) -> dict[str, list[str]]:
    """The texts in the configurations of both profiles, read by docker compose, which needs no engine for that."""
    found = {}
    for profile in project.data["profiles"]:
        setup(project, profile, groups=project.groups)
        config = Docker(project.root).effective(every_group=True)
        found[profile] = list(texts(config))
    return found


@pytest.fixture(params=[NASTY, LITERAL])
def value_of(request: pytest.FixtureRequest) -> dict[str, str]:
    """A value with every special character for each setting with any text."""
    return {name: f"{name} {request.param}" for name in TEXTS}


def test_every_setting_has_a_test() -> None:
    assert len(SETTINGS) > 50
    assert REFUSED.keys() == ARRIVING.keys()
    assert {name for name in SETTINGS if rule_of(name)} | {"BIND_ADDRESS"} == ARRIVING.keys()
    assert TEXTS, "settings with any text"


def test_texts_arrive_unchanged(project: Project, value_of: dict[str, str]) -> None:
    project.env_file.write_text("".join(f"{name}={envsyntax.written(value)}\n" for name, value in value_of.items()))
    found = configurations(project)
    for name, value in value_of.items():
        if name == "BACKUP_KEY_COPY":
            assert project.env[name] == value, "only the tasks read it"
            continue
        places = [text for texts in found.values() for text in texts if f"{name} " in text]
        assert places, name
        assert all(value in place for place in places), (name, places)


def test_values_with_a_rule_arrive_unchanged(project: Project) -> None:
    envfile.update(project.env_file, ARRIVING)
    found = configurations(project)
    for name, value in ARRIVING.items():
        if name in {"NETMON_IMAGES", "COMPOSE_PROFILES"}:
            assert project.env[name] == value, "only the tasks and docker compose itself read it"
        else:
            assert any(value in text for texts in found.values() for text in texts), name


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values])
def test_value_that_breaks_its_rule_is_refused(project: Project, name: str, value: str) -> None:
    project.env_file.write_text(f"# mine\n{name}={value}\n")
    with pytest.raises(ToolkitError) as raised:
        setup(project, "dev")
    assert name in str(raised.value)
    rule = rule_of(name)
    expected = envsyntax.broken_rule(value) or (rule.words if rule else "only loopback addresses are allowed")
    assert expected in raised.value.why
    assert raised.value.fix
    assert not project.secrets_dir.exists(), "nothing was changed"


@pytest.mark.parametrize("name", SETTINGS)
def test_value_that_compose_would_change_is_refused(project: Project, name: str) -> None:
    project.env_file.write_text(f"{name}=x$HOME y#z$$q\n")
    with pytest.raises(ToolkitError, match=f"refused: line 1: {name}: docker compose expands") as raised:
        setup(project, "dev")
    assert "HOME" not in str(raised.value)
    assert not project.secrets_dir.exists(), "nothing was changed"


@pytest.mark.parametrize("name", CREDENTIALS)
def test_credential_with_another_character_is_refused(project: Project, name: str) -> None:
    project.env_file.write_text(f"{name}='{NASTY}'\n")
    with pytest.raises(ToolkitError, match=f"{name} in .env is invalid") as raised:
        setup(project, "dev")
    users = CREDENTIALS[name].users
    assert (", ".join(users) if users else credentials.RULE) in raised.value.why


def test_credentials_arrive_unchanged(project: Project) -> None:
    values = {name: f"{name}-0123456789" for name, secret in CREDENTIALS.items() if not secret.users}
    envfile.update(project.env_file, values)
    found = configurations(project)["dev"]
    for name in passwords(project, "dev").keys() & values.keys():
        assert any(values[name] in text for text in found), name


def test_empty_values_have_their_default(project: Project) -> None:
    project.env_file.write_text("".join(f"{name}=\n" for name in SETTINGS if name not in WRITTEN))
    assert setting_rules.problems(project) == []


def test_defaults_of_the_example_are_accepted(project: Project) -> None:
    example = (CHECKOUT / ".env.example").read_text(encoding="utf-8")
    project.env_file.write_text(re.sub(r"^#(?=[A-Z_]+=)", "", example, flags=re.MULTILINE))
    assert setting_rules.problems(project) == []


def test_doctor_reports_every_line(project: Project) -> None:
    project.env_file.write_text("APP_PORT=x\nAPP_URL=http://$HOST\nnonsense\nGRAFANA_PORT=3001\n")
    assert [str(problem) for problem in setting_rules.problems(project)] == [
        f"line 1: APP_PORT: the value must be {setting_rules.PORT.words}",
        f"line 2: APP_URL: {envsyntax.DOLLAR}",
        f"line 3: {envsyntax.SYNTAX}",
    ]
    found = [each for each in doctor_settings(Subject(project, Docker(project.root))) if each.outcome == "failed"]
    assert [each.detail for each in found] == [f".env, {problem}" for problem in setting_rules.problems(project)]


@pytest.mark.parametrize("content", [b"A=\xff\n", None])
def test_unreadable_file_is_an_error(project: Project, content: bytes | None) -> None:
    if content is None:
        project.env_file.mkdir()
    else:
        project.env_file.write_bytes(content)
    with pytest.raises(ToolkitError, match=r"cannot read .*\.env"):
        setting_rules.require(project)


@pytest.mark.parametrize("name", ["redis", "my_app:1", "a/b__c:2", "localhost:5000/x", "x@sha256:" + "a" * 64])
def test_name_of_an_image_is_accepted(name: str) -> None:
    assert setting_rules.IMAGE.accepts(name)
