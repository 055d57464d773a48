"""Every task under the conditions of a terminal program: no stack trace, one error, the exit code of other programs."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import tasks
from tests.unit.toolkit.conftest import INFO, copy_checkout

pytestmark = pytest.mark.slow

TASKS: dict[str, tuple[str, ...]] = dict.fromkeys(tasks.namespace.task_names, ()) | {
    "secrets.rotate": ("--name=redis_app_password", "--yes"),
    "demo": ("--seconds=1",),
    "targets.import": ("--gatus=gatus.yml",),
    "targets.apply": ("--file=-",),
    "targets.heartbeat-url": ("--name=nightly", "--yes"),
}
"""Every task, with the arguments that take it furthest without an engine."""

FOREIGN = 54321
"""A user id without an account."""

ENGINE = """\
#!/bin/sh
# A docker client with an engine that only describes itself, so that tasks reach their first phases.
case "$*" in
  info*) exec cat "$INFORMATION" ;;
  *" config --format json") exec cat "$CONFIGURATION" ;;
esac
echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?' >&2
exit 1
"""

GATUS = "endpoints: [{name: shop, url: 'https://shop.example', interval: 60s, conditions: ['[STATUS] == 200']}]\n"


@dataclass(frozen=True)
class Outcome:
    """The end of a task."""

    code: int
    stdout: str
    stderr: str

    @property
    def errors(self) -> int:
        """The number of error messages."""
        return sum(line.startswith("error: ") for line in self.stderr.splitlines())


@dataclass
class Checkout:
    """A copy of this checkout, set up, with a docker that can do next to nothing."""

    root: Path
    env: Mapping[str, str]
    prefix: tuple[str, ...] = ()
    streams: dict[str, Any] = field(default_factory=dict)

    def run(self, task: str, *arguments: str, stdin: str | None = "", redirect: str = "") -> Outcome:
        """Run a task; ``redirect`` is a redirection of the shell."""
        argv = [*self.prefix, sys.executable, "-m", "invoke", task, *arguments]
        if redirect:
            argv = ["sh", "-c", f'exec "$@" {redirect}', "sh", *argv]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | self.streams
        ended = subprocess.run(
            argv, cwd=self.root, env=self.env, input=stdin, encoding="utf-8", errors="replace", check=False,
            timeout=60, **pipes,
        )  # fmt: skip
        return Outcome(ended.returncode, ended.stdout or "", ended.stderr or "")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The checkout that the tests copy."""
    folder = tmp_path_factory.mktemp("conditions")
    root = copy_checkout(folder / "checkout")
    (root / "gatus.yml").write_text(GATUS)
    programs = folder / "bin"
    programs.mkdir()
    configuration = folder / "configuration.json"
    env = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL") if name in os.environ},
        "REGISTRY": "127.0.0.1:9", "REGISTRY_QUAY": "127.0.0.1:9", "CONFIGURATION": str(configuration),
        "INFORMATION": str(folder / "information.json"),
    }  # fmt: skip
    checkout = Checkout(root, env)
    assert checkout.run("setup").code == 0
    compose = ("docker", "compose", "--profile", "*", "config", "--format", "json")
    configuration.write_bytes(subprocess.run(compose, cwd=root, env=env, capture_output=True, check=True).stdout)
    (folder / "information.json").write_text(json.dumps(INFO))
    (programs / "docker").write_text(ENGINE)
    (programs / "docker").chmod(0o755)
    checkout = Checkout(root, {**env, "PATH": f"{programs}:{env['PATH']}"})
    assert checkout.run("setup").code == 0, "with the folder of the engine"
    return checkout


@pytest.fixture(scope="module")
def usual(original: Checkout) -> Callable[[str], Outcome]:
    """The outcome of each task without a special condition."""
    known: dict[str, Outcome] = {}

    def outcome(task: str) -> Outcome:
        if task not in known:
            known[task] = original.run(task, *TASKS[task])
        return known[task]

    return outcome


@pytest.fixture
def checkout(original: Checkout, tmp_path: Path) -> Checkout:
    """A copy that a test may damage."""
    root = tmp_path / "checkout"
    shutil.copytree(original.root, root, symlinks=True)
    configuration = tmp_path / "configuration.json"
    text = Path(original.env["CONFIGURATION"]).read_text(encoding="utf-8")
    configuration.write_text(text.replace(str(original.root), str(root)), encoding="utf-8")
    return Checkout(root, {**original.env, "CONFIGURATION": str(configuration)})


def without_privileges() -> tuple[str, ...]:
    """The prefix of a command that obeys the permissions of files, as those of any account but root do."""
    return () if os.geteuid() else ("setpriv", "--bounding-set=-all", "--inh-caps=-all")


every_task = pytest.mark.parametrize("task", sorted(TASKS))
some_tasks = pytest.mark.parametrize("task", ["config", "doctor", "setup", "up"])
"""Tasks with every kind of output: of this program, of rich, and none."""


def require_clean(outcome: Outcome) -> None:
    assert "Traceback" not in outcome.stderr, outcome.stderr
    assert "Exception ignored" not in outcome.stderr, outcome.stderr
    assert outcome.code in {0, 1, 2}, outcome
    assert outcome.errors == (outcome.code > 0), outcome


@every_task
def test_without_a_condition(usual: Callable[[str], Outcome], task: str) -> None:
    """The tasks that need no container succeed, the others report that there is no engine."""
    outcome = usual(task)
    require_clean(outcome)
    if outcome.code and not task.startswith(("doctor", "preflight", "targets.", "images.")):
        assert "Cannot connect to the Docker daemon" in outcome.stderr
    assert ("▶ " in outcome.stdout) is (task == "up"), "the first phase"


@every_task
def test_closed_pipe_ends_a_task_as_the_signal_would(
    original: Checkout, usual: Callable[[str], Outcome], task: str
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = Checkout(original.root, original.env, streams={"stdout": writer}).run(task, *TASKS[task])
    finally:
        os.close(writer)
    if usual(task).stdout:
        assert (ended.code, ended.stderr) == (141, "")
    else:
        require_clean(ended)


def require_output_error(ended: Outcome, usual: Outcome, number: int) -> None:
    require_clean(ended)
    if usual.stdout:
        assert ended.code == 1
        assert f"error: cannot write the standard output: {os.strerror(number)}\n  fix: " in ended.stderr


@every_task
def test_full_device_is_one_error(original: Checkout, usual: Callable[[str], Outcome], task: str) -> None:
    require_output_error(original.run(task, *TASKS[task], redirect=">/dev/full"), usual(task), errno.ENOSPC)


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
        ("", "confirmation required to remove the containers of services that no compose file has: web", "--yes"),
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
def test_closed_output_is_one_error(original: Checkout, usual: Callable[[str], Outcome], task: str) -> None:
    require_output_error(original.run(task, *TASKS[task], redirect=">&-"), usual(task), errno.EBADF)


@some_tasks
@pytest.mark.parametrize("redirect", ["2>/dev/full", "2>&-"])
def test_error_that_cannot_be_written_keeps_the_exit_code(
    original: Checkout, usual: Callable[[str], Outcome], task: str, redirect: str
) -> None:
    ended = original.run(task, *TASKS[task], redirect=redirect)
    assert (ended.code, ended.stderr) == (usual(task).code, "")


@every_task
def test_ascii_terminal(original: Checkout, usual: Callable[[str], Outcome], task: str) -> None:
    """Neither the output nor the files of a checkout depend on the locale."""
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    ended = Checkout(original.root, {**original.env, **locale}).run(task, *TASKS[task])
    require_clean(ended)
    assert ended.code == usual(task).code
    assert len(ended.stdout.splitlines()) == len(usual(task).stdout.splitlines())
    assert ended.stdout.isascii()


@every_task
def test_closed_input_asks_for_nothing(original: Checkout, usual: Callable[[str], Outcome], task: str) -> None:
    ended = original.run(task, *TASKS[task], stdin=None, redirect="<&-")
    require_clean(ended)
    if task == "targets.apply":
        assert "error: cannot read the standard input: Bad file descriptor\n  fix: " in ended.stderr
    else:
        assert ended.code == usual(task).code


@every_task
def test_no_home_folder(original: Checkout, usual: Callable[[str], Outcome], task: str) -> None:
    env = {name: value for name, value in original.env.items() if name != "HOME"}
    ended = Checkout(original.root, env).run(task, *TASKS[task])
    require_clean(ended)
    assert ended.code == usual(task).code


@contextmanager
def changed_modes(root: Path, change: Callable[[int], int]) -> Iterator[None]:
    """Change the permissions of everything below ``root``, and restore them."""
    with ExitStack() as restore:
        for path in (root, *root.rglob("*")):
            if not path.is_symlink():
                mode = path.stat().st_mode
                restore.callback(path.chmod, mode)
        for path in sorted(root.rglob("*"), reverse=True):
            if not path.is_symlink():
                path.chmod(change(path.stat().st_mode))
        root.chmod(change(root.stat().st_mode))
        yield


@pytest.fixture(scope="module")
def read_only(original: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    root = tmp_path_factory.mktemp("read-only") / "checkout"
    shutil.copytree(original.root, root, symlinks=True)
    with changed_modes(root, lambda mode: mode & ~0o222):
        yield Checkout(root, original.env, without_privileges())


@pytest.fixture(scope="module")
def private(original: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout with the umask 077."""
    root = tmp_path_factory.mktemp("umask") / "checkout"
    shutil.copytree(original.root, root, symlinks=True)
    for path in (root, *root.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o077)
    return Checkout(root, original.env)


@every_task
def test_checkout_of_a_strict_umask(private: Checkout, usual: Callable[[str], Outcome], task: str) -> None:
    ended = private.run(task, *TASKS[task])
    require_clean(ended)
    assert ended.code in {usual(task).code, 1}


@pytest.fixture(scope="module")
def after_sudo(original: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout whose settings and credentials were written for another account."""
    root = tmp_path_factory.mktemp("sudo") / "checkout"
    shutil.copytree(original.root, root, symlinks=True)
    for path in (root / ".env", root / ".netmon", root / ".netmon" / "lock", root / "secrets"):
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.chown(path, FOREIGN, FOREIGN)
    return Checkout(root, original.env, without_privileges())


@every_task
def test_read_only_checkout(read_only: Checkout, task: str) -> None:
    require_clean(read_only.run(task, *TASKS[task]))


def test_reading_tasks_work_in_a_read_only_checkout(read_only: Checkout, usual: Callable[[str], Outcome]) -> None:
    for task in ("status", "config", "logs", "secrets.check", "images.list"):
        ended = read_only.run(task)
        assert (ended.code, ended.stderr) == (usual(task).code, usual(task).stderr), task


def test_writing_task_names_the_folder(read_only: Checkout) -> None:
    ended = read_only.run("setup", "--profile=prod")
    assert ended.code == 1
    assert ended.stderr.startswith(f"error: cannot write {read_only.root}/.netmon/lock: Permission denied\n  fix: ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@every_task
def test_files_of_another_account(after_sudo: Checkout, task: str) -> None:
    ended = after_sudo.run(task, *TASKS[task])
    require_clean(ended)
    if "Permission denied" in ended.stderr:
        assert f"it belongs to {FOREIGN}: sudo chown -R root " in ended.stderr


@every_task
def test_checkout_through_a_symbolic_link(
    original: Checkout, usual: Callable[[str], Outcome], tmp_path: Path, task: str
) -> None:
    """The tasks act on the same project, with the same paths."""
    link = tmp_path / "link"
    link.symlink_to(original.root)
    ended = Checkout(link, {**original.env, "PWD": str(link)}).run(task, *TASKS[task])
    require_clean(ended)
    assert ended.code == usual(task).code
    assert str(link) not in ended.stdout + ended.stderr


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
