"""`engine.sh remove --data` asks before it deletes the data of every project on the engine."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

ENGINE = Path(__file__).parents[3] / "scripts" / "engine.sh"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="engine.sh runs as root")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data of an engine, with a volume."""
    volume = tmp_path / "data" / "volumes" / "postgres_data"
    volume.mkdir(parents=True)
    (tmp_path / "prefix").mkdir()
    return tmp_path / "data"


def remove(data: Path, *options: str, answer: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the script with folders of its own; with an answer, on a terminal."""
    folders = {name: str(data.with_name(name.lower())) for name in ("PREFIX", "DATA", "RUN")}
    environment = os.environ | {f"NETMON_ENGINE_{name}": path for name, path in folders.items()}
    command = [str(ENGINE), "remove", *options]
    if answer is None:
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
    terminal, other = pty.openpty()
    os.write(terminal, f"{answer}\n".encode())
    try:
        return subprocess.run(
            command, env=environment, stdin=other, stdout=other, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(terminal)
        os.close(other)


def test_data_is_not_deleted_without_confirmation(data: Path) -> None:
    result = remove(data, "--data")
    assert result.returncode == 1
    assert "requires confirmation" in result.stderr
    assert "--yes" in result.stderr
    assert str(data) in result.stdout
    assert "1 volumes" in result.stdout
    assert (data / "volumes" / "postgres_data").exists()
    assert data.with_name("prefix").exists(), "nothing else is removed either"


@pytest.mark.parametrize("answer", ["n", ""])
def test_data_is_not_deleted_if_the_user_refuses(data: Path, answer: str) -> None:
    result = remove(data, "--data", answer=answer)
    assert (result.returncode, "cancelled" in result.stderr) == (1, True)
    assert data.exists()


def test_data_is_deleted_after_confirmation(data: Path) -> None:
    assert remove(data, "--data", answer="y").returncode == 0
    assert not data.exists()


def test_data_is_deleted_with_yes(data: Path) -> None:
    assert remove(data, "--data", "--yes").returncode == 0
    assert not data.exists()


def test_the_data_stays_without_the_option(data: Path) -> None:
    assert remove(data).returncode == 0
    assert data.exists()
    assert not data.with_name("prefix").exists()
