"""Connection settings of Kafka, with and without an account."""

from pathlib import Path

from netmon.kafka import access
from netmon.settings import load


def test_without_an_account_there_is_no_authentication(environ: dict[str, str]) -> None:
    assert access(load({**environ, "KAFKA_BROKERS": "a:1,b:2"})) == {"bootstrap_servers": ["a:1", "b:2"]}


def test_an_account_authenticates_with_scram(environ: dict[str, str], tmp_path: Path) -> None:
    for name, content in (("user", "netmon_b\n"), ("password", "p@ss=word\n")):
        (tmp_path / name).write_text(content, encoding="utf-8")
        environ[f"KAFKA_{name.upper()}_FILE"] = str(tmp_path / name)
    settings = load(environ)
    assert access(settings) == {
        "bootstrap_servers": ["kafka:29092"],
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "netmon_b",
        "sasl_plain_password": "p@ss=word",
    }
    assert "p@ss" not in repr(settings)
