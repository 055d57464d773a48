"""The Kafka exporter's entry point: it waits until Kafka answers, and passes the password in a file."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts" / "container"
REQUEST = b"\0\0\0\x0a\0\x12\0\0\0\x0009\0\0"
ANSWER = r"\000\000\000\012\000\00009\000\000"
"""The length, the correlation id of the request, error code 0."""
UNSUPPORTED = r"\000\000\000\012\000\00009\000\043"

# A stub of `nc`: records the request, refuses the first connections, then answers like Kafka.
KAFKA = """\
#!/bin/sh
cat >'{folder}/request'
echo x >>'{folder}/connections'
[ "$(wc -l <'{folder}/connections')" -gt {refused} ] || exit 1
printf '{answer}'
"""
EXPORTER = "#!/bin/sh\nprintf '%s\\n' \"$@\" >'{folder}/arguments'\n"


class Container:
    """The script with its paths below a folder, and stubs of `nc` and the exporter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, refused: int = 0, answer: str = ANSWER, **environment: str) -> subprocess.Popen[str]:
        """Start the script; Kafka refuses the first ``refused`` connections."""
        for script in ("kafka-exporter-entrypoint.sh", "credential.sh"):
            text = (SCRIPTS / script).read_text()
            for path in ("/opt/netmon", "/bin", "/run"):
                text = text.replace(f"{path}/", f"{self.folder}/")
            self._program(script, text)
        (self.folder / "kafka-exporter").mkdir()
        self._program("nc", KAFKA.format(folder=self.folder, refused=refused, answer=answer))
        self._program("kafka_exporter", EXPORTER.format(folder=self.folder))
        return subprocess.Popen(
            ["sh", str(self.folder / "kafka-exporter-entrypoint.sh"), "--kafka.server=kafka:29092"],
            env={"PATH": f"{self.folder}:{os.environ['PATH']}", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _program(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o755)

    @property
    def connections(self) -> int:
        """The number of connections to Kafka."""
        path = self.folder / "connections"
        return len(path.read_text().splitlines()) if path.exists() else 0

    @property
    def arguments(self) -> list[str] | None:
        """The arguments of the exporter; None before its start."""
        path = self.folder / "arguments"
        return path.read_text().splitlines() if path.exists() else None


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


def test_exporter_starts_immediately_if_kafka_answers(container: Container) -> None:
    output, _ = container.start().communicate(timeout=20)
    assert output == ""
    assert container.arguments == ["--kafka.server=kafka:29092"]
    assert (container.folder / "request").read_bytes() == REQUEST


def test_exporter_waits_for_kafka(container: Container) -> None:
    output, _ = container.start(refused=2).communicate(timeout=20)
    assert output == "waiting for Kafka\n"
    assert container.connections == 3
    assert container.arguments == ["--kafka.server=kafka:29092"]


def test_exporter_waits_while_kafka_answers_with_an_error_and_stops_on_sigterm(container: Container) -> None:
    with container.start(answer=UNSUPPORTED) as process:
        assert process.stdout
        assert process.stdout.readline() == "waiting for Kafka\n"
        while container.connections < 3 and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 143
    assert container.arguments is None


def test_password_reaches_the_exporter_in_a_file(container: Container) -> None:
    secret = container.folder / "secret"
    secret.write_text("password-of-monitoring\n")
    container.start(KAFKA_MONITORING_PASSWORD_FILE=str(secret)).communicate(timeout=20)
    flags = container.folder / "kafka-exporter" / "flags"
    assert container.arguments == ["--kafka.server=kafka:29092", f"@{flags}"]
    assert "--sasl.password=password-of-monitoring" in flags.read_text().splitlines()
    assert flags.stat().st_mode & 0o077 == 0


def test_an_empty_password_is_an_error(container: Container) -> None:
    secret = container.folder / "secret"
    secret.write_text("")
    process = container.start(KAFKA_MONITORING_PASSWORD_FILE=str(secret))
    _, error = process.communicate(timeout=20)
    assert process.returncode == 78
    assert "KAFKA_MONITORING_PASSWORD is empty" in error
    assert container.arguments is None
