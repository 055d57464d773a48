"""Tasks with closed and full outputs, in pipes, without a terminal, after sudo, and with a strict umask."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.toolkit.tasks.checkouts import TASKS, Checkout, Usual, require_clean, require_output_error

pytestmark = pytest.mark.slow

FOREIGN = 54321
"""A user id without an account."""

some_tasks = pytest.mark.parametrize("task", ["config", "doctor", "setup", "up"])
"""Tasks with every kind of output: of this program, of rich, and none."""

LISTING = """\
#!/bin/sh
case "$*" in
  info*) exec cat "$INFORMATION" ;;
  *" config --format json") exec cat "$CONFIGURATION" ;;
  "ps --all --no-trunc"*) printf 'id\\tweb-1\\texited\\tweb:1\\t\\t%s\\tweb\\tFalse\\t%s\\t\\n' "$NAME" "$FOLDER" ;;
  ps*) ;;
  *) echo "$*" >>"$CHANGES"; exit 1 ;;
esac
"""
"""A docker client that lists a container of an unknown service, of some folder; other commands are recorded."""


@pytest.mark.parametrize("redirect", ["<&-", "</dev/null", "</dev/null >&2"])
@pytest.mark.parametrize(
    ("folder", "error", "fix"),
    [
        ("", "confirmation required to remove the containers of services that are in no compose file: web", "--yes"),
        ("/was/here", "belongs to another folder: /was/here, which does not exist on this machine,", "invoke up --yes"),
    ],
)
def test_consent_is_not_asked_without_a_terminal(
    original: Checkout, tmp_path: Path, redirect: str, folder: str, error: str, fix: str
) -> None:
    """`up` refuses to remove what an earlier run has left, and names the option that confirms it."""
    (tmp_path / "docker").write_text(LISTING)
    (tmp_path / "docker").chmod(0o755)
    config = json.loads(Path(original.env["CONFIGURATION"]).read_text(encoding="utf-8"))
    changes = tmp_path / "changes"
    env = {
        **original.env,
        "PATH": f"{tmp_path}:{original.env['PATH']}",
        "NAME": config["name"],
        "FOLDER": folder or str(original.root),
        "CHANGES": str(changes),
    }
    ended = Checkout(original.root, env).run("up", stdin=None, redirect=redirect)
    require_clean(ended)
    message, _, named = ended.stderr.partition("  fix: ")
    assert ended.code == 1
    assert error in message
    assert fix in named
    assert not changes.exists() or "rm" not in changes.read_text(encoding="utf-8")


LOGS = """\
#!/bin/sh
case "$*" in
  *" config --format json") exec cat "$CONFIGURATION" ;;
  *" logs"*) while echo 'app-1  | äöü a line of a log'; do :; done ;;
esac
"""
"""A docker client that prints logs as long as they are read."""


@pytest.mark.parametrize(
    ("redirect", "code", "error"),
    [
        ("| head -n 1", 141, ""),
        ("2>&1 | head -n 1", 141, ""),
        (">/dev/full", 1, f"error: cannot write the standard output: {os.strerror(errno.ENOSPC)}"),
        (">&-", 1, f"error: cannot write the standard output: {os.strerror(errno.EBADF)}"),
    ],
)
@pytest.mark.parametrize("options", ["", "--follow"])
def test_logs_end_with_their_reader(
    original: Checkout, tmp_path: Path, redirect: str, code: int, error: str, options: str
) -> None:
    (tmp_path / "docker").write_text(LOGS)
    (tmp_path / "docker").chmod(0o755)
    env = {**original.env, "PATH": f"{tmp_path}:{original.env['PATH']}"}
    script = f"{sys.executable} -m invoke logs {options} {redirect}; echo ${{PIPESTATUS[0]}} >&2"
    ended = subprocess.run(
        ["bash", "-c", script],
        cwd=original.root,
        env=env,
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=60,
    )
    *errors, status = ended.stderr.splitlines()
    assert int(status) == code
    assert errors[:1] == [error] * bool(error)
    assert len(errors) == 2 * bool(error), "the error and its fix"
    assert ended.stdout == ("app-1  | äöü a line of a log\n" if "head" in redirect else "")


@some_tasks
def test_closed_output_is_one_error(original: Checkout, usual: Usual, task: str) -> None:
    require_output_error(original.run(task, *TASKS[task], redirect=">&-"), usual(task), errno.EBADF)


@some_tasks
@pytest.mark.parametrize("redirect", ["2>/dev/full", "2>&-"])
def test_error_that_cannot_be_written_keeps_the_exit_code(
    original: Checkout, usual: Usual, task: str, redirect: str
) -> None:
    ended = original.run(task, *TASKS[task], redirect=redirect)
    assert (ended.code, ended.stderr) == (usual(task).code, "")


def test_docker_is_started_in_the_real_folder_of_a_checkout(original: Checkout, tmp_path: Path) -> None:
    """Docker prefers PWD: paths of mounts, and with them the digests of configurations, would differ."""
    programs, link = tmp_path / "bin", tmp_path / "link"
    programs.mkdir()
    (programs / "docker").write_text("#!/bin/sh\npwd -L\nexit 1\n")
    (programs / "docker").chmod(0o755)
    link.symlink_to(original.root)
    env = {**original.env, "PATH": f"{programs}:{original.env['PATH']}", "PWD": str(link)}
    assert str(original.root) in Checkout(link, env).run("status").stderr


def test_fix_for_a_strict_umask_is_complete(checkout: Checkout) -> None:
    """`up` refuses such a checkout before it starts anything; its command opens every mount and no credential."""
    for path in (checkout.root, *checkout.root.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o077)
    refused = checkout.run("up")
    assert refused.code == 1
    assert refused.stderr.startswith("error: the containers' accounts cannot read ")
    fix = refused.stderr.partition("  fix: run: ")[2].strip()
    assert f"fix: run: {fix}" in checkout.run("doctor").stdout
    subprocess.run(shlex.split(fix), cwd=checkout.root, check=True)
    assert "the containers' accounts" not in checkout.run("up").stderr + checkout.run("doctor").stdout
    assert (checkout.root / "secrets").stat().st_mode & 0o077 == 0
    assert (checkout.root / ".env").stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_leaves_the_files_to_the_owner_of_the_checkout(checkout: Checkout) -> None:
    for path in (checkout.root, *checkout.root.rglob("*")):
        os.chown(path, FOREIGN, FOREIGN, follow_symlinks=False)
    shutil.rmtree(checkout.root / "secrets")
    (checkout.root / ".env").unlink()
    assert checkout.run("setup").code == 0
    foreign = {path for path in (checkout.root).rglob("*") if path.lstat().st_uid != FOREIGN}
    assert {path for path in foreign if "__pycache__" not in path.parts} == set()
