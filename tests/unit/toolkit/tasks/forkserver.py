"""Runs tasks in forks of one interpreter that has imported the toolkit: a fork takes a tenth of the time of a start.

The interpreter is started as `python -m invoke` is: in the folder, with the environment and the privileges of the
test. Run as a program, this module is the server; its argument is the descriptor of its socket.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

STREAMS = ("stdin", "stdout", "stderr")
REQUEST_BYTES = 65536
NOT_IMPORTED = ("toolkit.validate", "toolkit.policy")
"""Packages whose modules take seconds to import; few tasks need them."""


class ForkServer:
    """The server of a folder, as seen by the tests."""

    def __init__(self, root: Path, env: Mapping[str, str], prefix: Sequence[str] = ()) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [*prefix, sys.executable, __file__, str(theirs.fileno())], cwd=root, env=env,
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip

    def run(self, arguments: Sequence[str], streams: Sequence[int | None], timeout: float) -> int:
        """Run `invoke ARGUMENTS` with these descriptors as standard streams, None for a closed one; the exit code.

        Raises:
            TimeoutError: it takes longer than ``timeout`` seconds; it is killed.
            EOFError: the server has ended.
        """
        request = {"arguments": list(arguments), "closed": [each is None for each in streams]}
        socket.send_fds(self._socket, [json.dumps(request).encode()], [each for each in streams if each is not None])
        child = int(self._answer())
        self._socket.settimeout(timeout)
        try:
            return int(self._answer())
        except TimeoutError:
            os.kill(child, signal.SIGKILL)
            raise
        finally:
            self._socket.settimeout(None)

    def _answer(self) -> bytes:
        answer = self._socket.recv(REQUEST_BYTES)
        if not answer:
            raise EOFError("the server has ended")
        return answer

    def close(self) -> None:
        """End the server."""
        self._socket.close()
        self._process.wait()


def serve(connection: socket.socket) -> None:
    """Answer each request with the process id of its fork, then with the exit code."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, REQUEST_BYTES, len(STREAMS))
        if not message:
            return
        request = json.loads(message)
        if not (child := os.fork()):
            connection.close()
            replace_streams(descriptors, request["closed"])
            run(request["arguments"])
        for each in descriptors:
            os.close(each)
        connection.send(str(child).encode())
        connection.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def replace_streams(descriptors: Sequence[int], closed: Sequence[bool]) -> None:
    """Use the descriptors as standard streams; Python sets a closed one to None when it starts."""
    given = iter(descriptors)
    for number, name in enumerate(STREAMS):
        if closed[number]:
            os.close(number)
            setattr(sys, name, None)
            setattr(sys, f"__{name}__", None)
        else:
            os.dup2(descriptor := next(given), number)
            os.close(descriptor)


def run(arguments: Sequence[str]) -> NoReturn:
    """Run `invoke ARGUMENTS`, and exit as it does, but without destroying the modules, which takes long."""
    sys.argv = ["invoke", *arguments]
    code = 0
    try:
        importlib.import_module("invoke.main").program.run()
    except SystemExit as ended:
        code = int(ended.code or 0)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()
    os._exit(code)


def main(descriptor: int) -> None:
    """Import what the tasks import, then serve until the tests close the socket."""
    sys.path[0] = str(Path.cwd())
    toolkit = importlib.import_module("toolkit")
    importlib.import_module("rich.table")
    for module in pkgutil.walk_packages(toolkit.__path__, "toolkit."):
        if not module.name.startswith(NOT_IMPORTED):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()  # a collection in a fork would copy the memory
    serve(socket.socket(fileno=descriptor))


if __name__ == "__main__":
    main(int(sys.argv[1]))
