"""The standard streams, in processes of their own, and errors of the host."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys

import pytest

from tests.unit.toolkit.conftest import CHECKOUT
from toolkit.core import console, terminal
from toolkit.core.errors import ToolkitError

PREPARED = """
import os, sys
from toolkit.core import terminal
terminal.prepare()
"""


def run(code: str, *, redirect: str = "", **env: str) -> subprocess.CompletedProcess[bytes]:
    """Run code after `terminal.prepare`, with a redirection of the shell."""
    argv = ["sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, "-c", PREPARED + code]
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT), **env}
    return subprocess.run(argv, env=variables, cwd=CHECKOUT, capture_output=True, check=False, input=b"")


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("utf-8", "▶ ✓ ü € ?"), ("ascii", "> + ? ? ?"), ("latin-1", "> + ü ? ?"), ("utf-16-le", "▶ ✓ ü € ?")],
)
def test_characters_that_an_encoding_lacks_are_replaced(encoding: str, expected: str) -> None:
    ended = run(r'print("▶ ✓ ü € \udcff")', PYTHONIOENCODING=encoding)
    assert (ended.returncode, ended.stdout.decode(encoding)) == (0, f"{expected}\n")


def test_input_in_another_encoding_is_replaced() -> None:
    argv = [sys.executable, "-c", PREPARED + "print(ascii(input()))"]
    env = {"PYTHONPATH": str(CHECKOUT), "PYTHONIOENCODING": "ascii"}
    ended = subprocess.run(argv, env=env, cwd=CHECKOUT, capture_output=True, check=True, input="jä\n".encode())
    assert ended.stdout == b"'j\\ufffd\\ufffd'\n"


AFTER_AN_ERROR = """
from toolkit.core.errors import ToolkitError
try:
    print("first")
except ToolkitError as error:
    print("cleaning up")
    os.system("echo a child")
    sys.exit(f"{error.code}: {error.message}")
"""


def test_output_is_discarded_after_an_error() -> None:
    """Otherwise a rollback, which prints, would be interrupted as well."""
    ended = run(AFTER_AN_ERROR, redirect=">/dev/full")
    assert ended.stderr.startswith(b"1: error: cannot write the standard output: No space left on device\n  fix: ")
    assert len(ended.stderr.splitlines()) == 2


def test_closed_streams_are_not_replaced_by_the_next_file() -> None:
    code = "print([os.open('/', 0) > 2, sys.stdin.isatty()], file=sys.stderr)"
    ended = run(code, redirect="<&- >&-")
    assert ended.stderr == b"[True, False]\n"


def test_child_with_a_closed_output_fails_to_write() -> None:
    assert run("sys.exit(os.system('echo x 2>/dev/null') != 0)", redirect=">&-").returncode == 1


def test_every_byte_of_a_slow_output_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    written = bytearray()
    blocked = iter([True, False, True])

    def write(_descriptor: int, data: memoryview) -> int:
        if next(blocked, False):
            raise BlockingIOError
        written.extend(data[:3])
        return min(3, len(data))

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setattr("select.select", lambda *_: ([], [], []))
    assert terminal._Output(1, strict=True).write(b"0123456789") == 10
    assert written == b"0123456789"


def test_output_of_a_command_is_copied_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    content = os.urandom(200_000)
    reader, writer = os.pipe()
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, "ascii"))
    if (pid := os.fork()) == 0:
        os.close(reader)
        with os.fdopen(writer, "wb") as stream:
            stream.write(content)
        os._exit(0)
    os.close(writer)
    print("before")
    terminal.copy_to_stdout(reader)
    os.close(reader)
    os.waitpid(pid, 0)
    assert output.getvalue() == b"before\n" + content


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        (KeyboardInterrupt(), "error: interrupted", 130),
        (OSError(errno.EROFS, "Read-only file system", "/x/.env"), "error: cannot use /x/.env: Read-only file sys", 1),
        (OSError(errno.EMFILE, "Too many open files"), "error: the host refuses an operation: Too many open files", 1),
    ],
)
def test_error_of_the_host_has_no_stack_trace(error: BaseException, message: str, code: int) -> None:
    with pytest.raises(ToolkitError) as raised, terminal.host_errors():
        raise error
    assert raised.value.render().startswith(message)
    assert raised.value.code == code


@pytest.mark.parametrize("error", [ConnectionRefusedError(errno.ECONNREFUSED, "refused"), ValueError("a mistake")])
def test_error_of_this_program_keeps_its_stack_trace(error: Exception) -> None:
    with pytest.raises(type(error)), terminal.host_errors():
        raise error


def test_spinner_has_characters_of_the_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding, name in (("utf-8", "dots"), ("ascii", "line")):
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding))
        assert console.spinner() == name
