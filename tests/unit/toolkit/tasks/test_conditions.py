"""Every task under the conditions of a terminal program: no stack trace, one error, the exit code of other programs."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.unit.toolkit.tasks.checkouts import TASKS, Checkout, Usual, require_clean, require_output_error

pytestmark = pytest.mark.slow

FOREIGN = 54321
"""A user id without an account."""

NO_TARGET, NO_REPOSITORY = "there is no target for backups", "is not a git repository"
LACKING = {
    "backup.now": NO_TARGET,
    "backup.status": NO_TARGET,
    "backup.verify": NO_TARGET,
    "restore": NO_TARGET,
    "upgrade": NO_REPOSITORY,
    "bundle": NO_REPOSITORY,
    "images.load": "No such file",
}
"""What the tasks lack that do not come as far as to the engine."""

every_task = pytest.mark.parametrize("task", sorted(TASKS))


def without_privileges() -> tuple[str, ...]:
    """The prefix of a command that obeys the permissions of files, as those of any account but root do."""
    return () if os.geteuid() else ("setpriv", "--bounding-set=-all", "--inh-caps=-all")


@every_task
def test_without_a_condition(usual: Usual, task: str) -> None:
    """The tasks that need no container succeed, the others report that there is no engine, or what they lack before."""
    outcome = usual(task)
    require_clean(outcome)
    if task in LACKING:
        assert LACKING[task] in outcome.stderr
    elif outcome.code and not task.startswith(("doctor", "preflight", "targets.", "images.")):
        assert "Cannot connect to the Docker daemon" in outcome.stderr
    assert ("▶ " in outcome.stdout) is (task == "up"), "the first phase"


@pytest.mark.parametrize("task", ["config", "doctor", "setup", "up"])
def test_fork_ends_as_a_process_of_its_own(original: Checkout, usual: Usual, task: str) -> None:
    """The tests below run tasks in forks."""
    ended = original.run(task, *TASKS[task])
    assert (ended.code, ended.stderr) == (usual(task).code, usual(task).stderr)
    assert len(ended.stdout.splitlines()) == len(usual(task).stdout.splitlines())


@every_task
def test_closed_pipe_ends_a_task_as_the_signal_would(original: Checkout, usual: Usual, task: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = original.fork(task, *TASKS[task], stdout=writer)
    finally:
        os.close(writer)
    if usual(task).stdout:
        assert (ended.code, ended.stderr) == (141, "")
    else:
        require_clean(ended)


@every_task
def test_full_device_is_one_error(original: Checkout, usual: Usual, task: str) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = original.fork(task, *TASKS[task], stdout=full.fileno())
    require_output_error(ended, usual(task), errno.ENOSPC)


@pytest.fixture(scope="module")
def ascii_terminal(original: Checkout) -> Iterator[Checkout]:
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    with Checkout(original.root, {**original.env, **locale}).serving() as checkout:
        yield checkout


@every_task
def test_ascii_terminal(ascii_terminal: Checkout, usual: Usual, task: str) -> None:
    """Neither the output nor the files of a checkout depend on the locale."""
    ended = ascii_terminal.fork(task, *TASKS[task])
    require_clean(ended)
    assert ended.code == usual(task).code
    assert len(ended.stdout.splitlines()) == len(usual(task).stdout.splitlines())
    assert ended.stdout.isascii()


@every_task
def test_closed_input_asks_for_nothing(original: Checkout, usual: Usual, task: str) -> None:
    ended = original.fork(task, *TASKS[task], closed_stdin=True)
    require_clean(ended)
    if task == "targets.apply":
        assert "error: cannot read the standard input: Bad file descriptor\n  fix: " in ended.stderr
    else:
        assert ended.code == usual(task).code


@pytest.fixture(scope="module")
def homeless(original: Checkout) -> Iterator[Checkout]:
    env = {name: value for name, value in original.env.items() if name != "HOME"}
    with Checkout(original.root, env).serving() as checkout:
        yield checkout


@every_task
def test_no_home_folder(homeless: Checkout, usual: Usual, task: str) -> None:
    ended = homeless.fork(task, *TASKS[task])
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
    served = Checkout(root, original.env, without_privileges())
    with changed_modes(root, lambda mode: mode & ~0o222), served.serving() as checkout:
        yield checkout


@pytest.fixture(scope="module")
def private(original: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout with the umask 077."""
    root = tmp_path_factory.mktemp("umask") / "checkout"
    shutil.copytree(original.root, root, symlinks=True)
    for path in (root, *root.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o077)
    with Checkout(root, original.env).serving() as checkout:
        yield checkout


@every_task
def test_checkout_of_a_strict_umask(private: Checkout, usual: Usual, task: str) -> None:
    ended = private.fork(task, *TASKS[task])
    require_clean(ended)
    assert ended.code in {usual(task).code, 1}


@pytest.fixture(scope="module")
def after_sudo(original: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout whose settings and credentials were written for another account."""
    root = tmp_path_factory.mktemp("sudo") / "checkout"
    shutil.copytree(original.root, root, symlinks=True)
    for path in (root / ".env", root / ".netmon", root / ".netmon" / "lock", root / "secrets"):
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.chown(path, FOREIGN, FOREIGN)
    with Checkout(root, original.env, without_privileges()).serving() as checkout:
        yield checkout


@every_task
def test_read_only_checkout(read_only: Checkout, task: str) -> None:
    require_clean(read_only.fork(task, *TASKS[task]))


def test_reading_tasks_work_in_a_read_only_checkout(read_only: Checkout, usual: Usual) -> None:
    for task in ("status", "config", "logs", "secrets.check", "images.list"):
        ended = read_only.fork(task)
        assert (ended.code, ended.stderr) == (usual(task).code, usual(task).stderr), task


def test_writing_task_names_the_folder(read_only: Checkout) -> None:
    ended = read_only.fork("setup", "--profile=prod")
    assert ended.code == 1
    assert ended.stderr.startswith(f"error: cannot write {read_only.root}/.netmon/lock: Permission denied\n  fix: ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@every_task
def test_files_of_another_account(after_sudo: Checkout, task: str) -> None:
    ended = after_sudo.fork(task, *TASKS[task])
    require_clean(ended)
    if "Permission denied" in ended.stderr:
        assert f"it belongs to {FOREIGN}: sudo chown -R root " in ended.stderr


@pytest.fixture(scope="module")
def linked(original: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """The checkout through a symbolic link."""
    link = tmp_path_factory.mktemp("linked") / "link"
    link.symlink_to(original.root)
    with Checkout(link, {**original.env, "PWD": str(link)}).serving() as checkout:
        yield checkout


@every_task
def test_checkout_through_a_symbolic_link(linked: Checkout, usual: Usual, task: str) -> None:
    """The tasks act on the same project, with the same paths."""
    ended = linked.fork(task, *TASKS[task])
    require_clean(ended)
    assert ended.code == usual(task).code
    assert str(linked.root) not in ended.stdout + ended.stderr
