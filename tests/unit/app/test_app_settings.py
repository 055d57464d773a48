"""Settings: valid and invalid values, and the error messages."""

import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from netmon.settings import SettingsError, load

AWKWARD = "p@:/?#%41 $'\"&+=ü"


def problems(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(environ)
    return caught.value.problems


def test_settings_have_defaults(environ: dict[str, str]) -> None:
    settings = load(environ)
    assert (settings.port, settings.log_level, settings.enable_metrics, settings.reload) == (3000, "info", True, False)
    assert settings.kafka_brokers == ("kafka:29092",)
    assert settings.database_url == environ["DATABASE_URL"]


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL", "KAFKA_BROKERS", "RABBITMQ_URL"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_variable_is_named(environ: dict[str, str], name: str, value: str | None) -> None:
    del environ[name]
    if value is not None:
        environ[name] = value
    assert problems(environ) == [f"{name} is not set"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://u:hidden@db/x"),
        ("DATABASE_URL", "postgresql://u:hidden@db:5432/"),
        ("DATABASE_URL", "postgresql://u:hid/den@db:5432/x"),
        ("REDIS_URL", "http://:hidden@redis"),
        ("REDIS_URL", "redis:///0"),
        ("RABBITMQ_URL", "amqp://u:hidden@rabbitmq:port/"),
        ("KAFKA_BROKERS", "kafka"),
        ("KAFKA_BROKERS", "kafka:9092,http://kafka:9092"),
        ("LOG_LEVEL", "loud"),
        ("ENABLE_METRICS", "yes"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "http"),
        ("PROBE_TIMEOUT_SECONDS", "nan"),
        ("WORKER_CONCURRENCY", "0"),
        ("RESULTS_RETENTION_DAYS", "0"),
        ("RELOAD", "1"),
        ("ALLOW_PRIVATE_TARGETS", "yes"),
        ("ALLOW_PRIVATE_TARGETS", "app:3000,hid"),
        ("ALLOW_PRIVATE_TARGETS", "app:0"),
        ("PROBE_PROXY_URL", "hidden:3128"),
        ("PROBE_PROXY_URL", "https://hidden:3128"),
        ("PROBE_PROXY_URL", "http://hidden:3128/x"),
        ("PROBE_PROXY_URL", "http://u:hidden@proxy:3128"),
        ("PROBE_PROXY_URL", "http://hid den:3128"),
        ("PROBE_PROXY_LOGIN", "secret:hidden"),
        ("PROBE_PROXY_EXCEPTIONS", "hidden.example"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "otel-collector:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://otel-collector:4317"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:hidden@otel-collector:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel-collector:port"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://otel collector"),
    ],
)
def test_an_invalid_variable_is_named_without_its_value(environ: dict[str, str], name: str, value: str) -> None:
    (problem,) = problems({**environ, name: value})
    assert problem.startswith(name)
    assert "hid" not in problem


@pytest.mark.parametrize(
    ("variables", "export"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel-collector:4318/"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://[::1]/otlp/v1/traces"}, True),
    ],
)
def test_traces_are_exported_if_an_endpoint_is_set(
    environ: dict[str, str], variables: dict[str, str], export: bool
) -> None:
    assert load(environ | variables).export_traces is export


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROBE_PROXY_LOGIN", "user:hidden"),
        ("PROBE_PROXY_LOGIN", "secret:../hidden"),
        ("PROBE_PROXY_LOGIN", "secret:"),
        ("PROBE_PROXY_EXCEPTIONS", "hidden/8"),
        ("PROBE_PROXY_EXCEPTIONS", "10.0.0.1/8"),
        ("PROBE_PROXY_EXCEPTIONS", "example.org,*.hidden"),
        ("PROBE_PROXY_EXCEPTIONS", "hidden:80"),
    ],
)
def test_an_invalid_setting_of_the_proxy_is_named_without_its_value(
    environ: dict[str, str], name: str, value: str
) -> None:
    (problem,) = problems({**environ, "PROBE_PROXY_URL": "http://proxy.example:3128", name: value})
    assert problem.startswith(f"{name} must be ")
    assert "hid" not in problem


def test_the_proxy_of_http_targets(environ: dict[str, str]) -> None:
    assert load(environ).guard.proxy is None
    environ |= {
        "PROBE_PROXY_URL": "http://Proxy.example:3128",
        "PROBE_PROXY_LOGIN": "secret:proxy",
        "PROBE_PROXY_EXCEPTIONS": " .Example.org, 10.0.0.0/8,2001:db8::1 ,",
        "ALLOW_PRIVATE_TARGETS": "app:3000",
    }
    guard = load(environ).guard
    assert guard.excepted == {("app", 3000)}
    assert guard.proxy is not None
    assert (guard.proxy.host, guard.proxy.port, guard.proxy.login) == ("proxy.example", 3128, "secret:proxy")
    assert guard.proxy.names == {"example.org"}
    assert list(map(str, guard.proxy.networks)) == ["10.0.0.0/8", "2001:db8::1/128"]


def test_all_problems_are_reported_together(environ: dict[str, str]) -> None:
    assert len(problems({**environ, "PORT": "x", "LOG_LEVEL": "x", "REDIS_URL": ""})) == 3


def test_the_password_of_a_file_is_added_to_the_url(environ: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{AWKWARD}\n", encoding="utf-8")
    environ |= {
        "DATABASE_URL": "postgresql://postgres@db:5432/network_monitor?sslmode=disable",
        "POSTGRES_PASSWORD_FILE": str(file),
        "REDIS_URL": "redis://redis:6379/0",
        "REDIS_PASSWORD_FILE": str(file),
        "RABBITMQ_URL": "amqp://admin:unused@[::1]:5672/",
        "RABBITMQ_PASSWORD_FILE": str(file),
    }
    settings = load(environ)
    for url in (settings.database_url, settings.redis_url, settings.rabbitmq_url):
        assert unquote(urlsplit(url).password or "") == AWKWARD
    assert urlsplit(settings.database_url).hostname == "db"
    assert settings.database_url.endswith("@db:5432/network_monitor?sslmode=disable")
    assert settings.rabbitmq_url.endswith("@[::1]:5672/")


def test_the_user_of_a_file_replaces_the_user_of_the_url(environ: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "user"
    file.write_text("netmon_b")
    environ |= {"DATABASE_URL": "postgresql://db:5432/network_monitor", "POSTGRES_USER_FILE": str(file)}
    assert load(environ).database_url == "postgresql://netmon_b@db:5432/network_monitor"
    environ |= {"RABBITMQ_USER_FILE": str(file)}
    assert load(environ).rabbitmq_url == "amqp://netmon_b:pw@rabbitmq:5672/"


def test_the_kafka_account_requires_user_and_password(environ: dict[str, str], tmp_path: Path) -> None:
    settings = load(environ)
    assert (settings.kafka_username, settings.kafka_password) == (None, None)
    for name in ("user", "password"):
        (tmp_path / name).write_text(f"kafka-{name}\n")
    environ["KAFKA_USER_FILE"] = str(tmp_path / "user")
    assert "set together" in problems(environ)[0]
    environ["KAFKA_PASSWORD_FILE"] = str(tmp_path / "password")
    settings = load(environ)
    assert (settings.kafka_username, settings.kafka_password) == ("kafka-user", "kafka-password")
    assert "kafka-password" not in repr(settings)


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff"])
def test_an_unusable_password_file_is_named(environ: dict[str, str], tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    (problem,) = problems({**environ, "REDIS_PASSWORD_FILE": str(file)})
    assert problem.startswith("REDIS_PASSWORD_FILE: ")
    assert str(file) in problem


def test_passwords_are_not_in_repr(environ: dict[str, str]) -> None:
    assert "pw" not in repr(load(environ))


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("REDIS_URL", "REDIS_URL is not set"),
        ("API_TOKEN", "API_TOKEN_FILE is not set, nor is API_TOKEN: set one of them to the token for write access"),
    ],
)
def test_a_missing_variable_ends_the_command_with_code_78_and_one_line(
    environ: dict[str, str], variable: str, message: str
) -> None:
    app = Path(__file__).parents[3] / "app"
    del environ[variable]
    ended = subprocess.run(
        [sys.executable, "-m", "netmon", "api"],
        env={**environ, "PYTHONPATH": str(app)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (78, "", f"netmon: {message}\n")
