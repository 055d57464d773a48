"""The browser check of quickstart.sh and test.sh: the chosen browser, and the problem reported without one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"
TOOLS = ("dirname", "head", "readlink")


class Machine:
    """A machine with a distribution and the programs of one folder."""

    def __init__(self, folder: Path, distribution: str) -> None:
        self.programs, self.distribution = folder / "bin", distribution
        self.programs.mkdir()
        for tool in TOOLS:
            self.install(tool, shutil.which(tool) or tool)

    def install(self, name: str, target: str | Path) -> Path:
        """Install a program as a link to another one."""
        program = self.programs / name
        program.symlink_to(target)
        return program

    def browser(self, name: str, folder: str = "lib") -> Path:
        """Install a browser whose program is in a folder of its own."""
        real = self.programs.parent / folder / name
        real.parent.mkdir(exist_ok=True)
        real.write_text("#!/bin/sh\n")
        real.chmod(0o755)
        return self.install(name, real)

    def check(self) -> subprocess.CompletedProcess[str]:
        """Run the check; its exit code is the number of problems."""
        script = f"""
            set -euo pipefail
            source {SCRIPTS}/lib.sh
            source {SCRIPTS}/phases.sh
            distribution() {{ echo {self.distribution}; }}
            check_browser
            echo "changes: ${{CHANGES[*]}}"
            exit "$PROBLEMS"
        """
        return subprocess.run(
            [shutil.which("bash") or "bash", "-c", script],
            env={"PATH": str(self.programs)}, capture_output=True, text=True, check=False,
        )  # fmt: skip


@pytest.fixture
def ubuntu(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path, "ubuntu")
    snap = tmp_path / "snap"
    snap.write_text("#!/bin/sh\n")
    snap.chmod(0o755)
    return machine


def test_installed_browser_is_used(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "debian")
    program = machine.browser("google-chrome")
    done = machine.check()
    assert done.returncode == 0, done.stderr
    assert str(program) in done.stdout


def test_snap_alone_is_a_problem(ubuntu: Machine, tmp_path: Path) -> None:
    program = ubuntu.install("chromium", tmp_path / "snap")
    done = ubuntu.check()
    assert done.returncode == 1
    assert f"{program} is a snap" in done.stderr
    assert "install Google Chrome" in done.stderr


def test_other_browser_is_preferred_to_a_snap(ubuntu: Machine, tmp_path: Path) -> None:
    ubuntu.install("chromium", tmp_path / "snap")
    program = ubuntu.browser("google-chrome-stable")
    done = ubuntu.check()
    assert done.returncode == 0, done.stderr
    assert str(program) in done.stdout


def test_missing_browser_is_a_problem(ubuntu: Machine) -> None:
    done = ubuntu.check()
    assert done.returncode == 1
    assert "no browser was found" in done.stderr


def test_debian_plans_the_installation_of_chromium(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "debian")
    snap = tmp_path / "snap"
    snap.write_text("")
    snap.chmod(0o755)
    machine.install("chromium", snap)
    done = machine.check()
    assert done.returncode == 0, done.stderr
    assert "changes: apt-get install chromium" in done.stdout
