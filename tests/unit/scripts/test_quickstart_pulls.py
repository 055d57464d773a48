"""Background pulls of quickstart.sh, with a stub of docker that records its calls."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from toolkit.checkout.project import Project

CHECKOUT = Path(__file__).resolve().parents[3]
CONFIG = """\
services:
  app:
    build:
      args:
        PYTHON_IMAGE: docker.io/library/python:3
    image: network-monitor:dev
  db:
    image: docker.io/library/postgres:18
  redis:
    image: docker.io/library/redis:8
"""
DOCKER = """\
#!/bin/sh
case "$1 $2" in
  "compose -f") echo "$@" >requested; cat config.yml ;;
  "images --quiet") cat local ;;
  "image inspect") grep -qx "$3" present ;;
  pull*)
    echo "$2" >>pulled
    case "$2" in
      */slow:*) echo $$ >pid; exec sleep 60 ;;
      */bad:*) exit 1 ;;
    esac ;;
esac
"""


@dataclass
class Checkout:
    """A folder in which the functions of phases.sh run."""

    root: Path

    def run(
        self, last: str = "wait", images: str = "auto", config: str = CONFIG, profile: str = "dev"
    ) -> subprocess.CompletedProcess[str]:
        """Start the pulls, then run a shell command."""
        (self.root / "config.yml").write_text(config)
        scripts = CHECKOUT / "scripts"
        text = f"set -euo pipefail; here={scripts}; root=$PWD; . {scripts}/lib.sh; . {scripts}/phases.sh; start_pulls"
        env = {**os.environ, "PATH": f"{self.root}:{os.environ['PATH']}", "IMAGES": images, "PROFILE": profile}
        env.pop("NETMON_IMAGES", None)
        return subprocess.run(
            ["bash", "-c", f"{text}; {last}"],
            cwd=self.root,
            env=env,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )

    @property
    def pulled(self) -> list[str]:
        """The pulled images, in the order in which their pulls were started."""
        path = self.root / "pulled"
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "docker-compose.yml").write_text("x: ${PASSWORD:?run setup}\n")
    shutil.copy(CHECKOUT / "invoke.yaml", tmp_path)
    for name in ("local", "present"):
        (tmp_path / name).touch()
    return Checkout(tmp_path)


def test_missing_images_are_pulled(checkout: Checkout) -> None:
    (checkout.root / "present").write_text("docker.io/library/redis:8\n")
    done = checkout.run()
    assert sorted(checkout.pulled) == ["docker.io/library/postgres:18", "docker.io/library/python:3"]
    assert done.stdout == "  images: pulled in the background, if a registry is reachable; log: .netmon/pulls.log\n"


@pytest.mark.parametrize("profile", ["dev", "prod"])
def test_images_are_those_of_the_layers_and_locks_of_the_profile(checkout: Checkout, profile: str) -> None:
    (checkout.root / "images.lock").touch()
    (checkout.root / f"images.{profile}.lock").touch()
    checkout.run(profile=profile)
    files = [*Project.load(CHECKOUT).layers(profile), "images.lock", f"images.{profile}.lock"]
    requested = (checkout.root / "requested").read_text()
    assert requested == f"compose {' '.join(f'-f {file}' for file in files)} --profile monitoring config\n"


def test_base_images_of_builds_are_pulled_first(checkout: Checkout) -> None:
    done = checkout.run("echo; published_images")
    assert done.stdout.split()[-3:] == [
        "docker.io/library/python:3", "docker.io/library/postgres:18", "docker.io/library/redis:8",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("images", "recorded", "local"), [("local", "", ""), ("auto", "NETMON_IMAGES=local\n", ""), ("auto", "", "f00\n")]
)
def test_nothing_is_pulled_with_local_images(checkout: Checkout, images: str, recorded: str, local: str) -> None:
    (checkout.root / ".env").write_text(recorded)
    (checkout.root / "local").write_text(local)
    assert checkout.run(images=images).stdout == ""
    assert checkout.pulled == []


def test_images_pull_ignores_local_images(checkout: Checkout) -> None:
    (checkout.root / "local").write_text("f00\n")
    checkout.run(images="pull")
    assert len(checkout.pulled) == 3


def test_compose_files_with_an_error_start_no_pull(checkout: Checkout) -> None:
    docker = checkout.root / "docker"
    docker.write_text(docker.read_text().replace("cat config.yml", "exit 1"))
    assert checkout.run().stdout == ""


def test_a_failed_pull_starts_no_further_pull(checkout: Checkout) -> None:
    names = [f"    image: docker.io/library/{name}" for name in ("bad:1", "bad:2", "bad:3", "good:1", "good:2")]
    checkout.run("wait || true", config="\n".join(names))
    assert not any("good" in name for name in checkout.pulled)


def test_pulls_end_with_the_script(checkout: Checkout) -> None:
    wait_for_pull = "until [[ -s pid ]]; do sleep 0.05; done"
    checkout.run(wait_for_pull, config="    image: docker.io/library/slow:1\n")
    process = Path("/proc", (checkout.root / "pid").read_text().strip())
    deadline = time.monotonic() + 10
    while process.exists() and "sleep" in (process / "cmdline").read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not process.exists() or "sleep" not in (process / "cmdline").read_text()
