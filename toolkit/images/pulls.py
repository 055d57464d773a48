"""Pulling published images: the largest first, side by side, with their bytes in view.

`docker pull` does it, so that contexts, mirrors and logins are docker's. It prints bytes on a terminal only, and is
therefore given one (`compose.run`, ``watch``); without bytes, a large layer on a slow line and a registry that sends
nothing more would look the same. `docker compose pull --progress=json` has bytes as well, but not in the oldest Compose
that is supported, and the engine's API knows no logins.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from toolkit.checkout.project import Project
from toolkit.core.console import say
from toolkit.core.errors import ToolkitError
from toolkit.core.progress import Rows, run_in_parallel
from toolkit.engine.compose import Docker, Result, TimedOutError
from toolkit.images import failures, sizes
from toolkit.images.layers import PullOutput
from toolkit.images.registry import ImageName, Registries, RegistryError

AT_ONCE = 4
PAUSES = (2.0, 8.0, 20.0)
"""Seconds before each further try, where the registry asks for no other."""
LONGEST_PAUSE = 60.0
LINE_EVERY = 15.0
"""Seconds between two lines about pulls that go on, where no terminal shows them."""
ALIVE = 1 / 3
"""The part of a probe's time, at its end, in which a line that is slow, and not stalled, brings a byte."""


@dataclass
class Pull:
    """One image that is pulled."""

    name: str
    sizes: Mapping[str, int] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    running: bool = False
    done: bool = False
    stalled: bool = False
    output: PullOutput = field(default_factory=PullOutput)

    def run(self, docker: Docker, timeout: float | None = None) -> Result:
        """One try, ended by ``stop``.

        Raises:
            TimedOutError: it took longer than ``timeout``, in seconds.
        """
        self.output, self.running = PullOutput(self.sizes), True
        try:
            return docker("pull", self.name, watch=self._feed, stop=self.stop, timeout=timeout)
        finally:
            self.running = False

    def _feed(self, line: str) -> None:
        self.output.feed(line)
        if self.output.wants_login:  # docker asks for it even where nobody can answer
            self.stop.set()

    def progress(self) -> str:
        """What has come, in words."""
        total = self.output.total
        return _size(self.output.received) + (f" of {_size(total)}" if total else "")


def pull(project: Project, docker: Docker, names: Sequence[str]) -> None:
    """Pull images, whether or not they are here.

    What is transient is tried again. A pull fails when no byte has come for some time, however long it takes in all.

    Raises:
        ToolkitError: one of them cannot be pulled; those that had begun by then are finished.
    """
    if not names:
        return
    known = _announce(project, docker, names)
    ordered = sorted(dict.fromkeys(names), key=lambda name: -sum(known.get(name, {}).values()))
    pulls = {name: Pull(name, _by_short_id(known.get(name, {}))) for name in ordered}
    watching = _StallWatch(project.timeout("stall"), list(pulls.values()))

    def one(name: str) -> str:
        _pull_with_retries(project, docker, pulls[name])
        pulls[name].done = True
        return _size(pulls[name].output.received)

    from rich.progress import BarColumn, DownloadColumn, TransferSpeedColumn

    columns = (BarColumn(bar_width=20), DownloadColumn(), TransferSpeedColumn())
    run_in_parallel(
        ordered, one, "pulled", workers=AT_ONCE, columns=columns, look=watching.look, cancel=watching.cancel
    )


def probe(project: Project, docker: Docker, name: str, seconds: float) -> None:
    """Find out whether images can be pulled, by one that is small; a slow line is as good as a fast one.

    Raises:
        ToolkitError: they cannot.
    """
    for last in (False, True):
        tried = Pull(name)
        try:
            result = tried.run(docker, timeout=seconds)
        except TimedOutError as error:
            if tried.output.received and time.monotonic() - tried.output.last_progress < ALIVE * seconds:
                return
            if tried.output.layers:
                raise failures.stalled_error(project, name, seconds) from error
            raise failures.no_answer_error(project, name, seconds) from error
        if result.code == 0 and not tried.output.wants_login:
            return
        failure = failures.pull_error(project, name, result, wants_login=tried.output.wants_login)
        pause = _retry_after(name) if _is_busy(failure) else None
        if last or pause is None or pause > seconds:
            raise failure
        time.sleep(pause)


def _announce(project: Project, docker: Docker, names: Sequence[str]) -> dict[str, sizes.Layers]:
    """Print how much there is to download; the layers of each image, as far as the registries answer."""
    known = sizes.layers(names, architecture(docker), project.timeout("registry"))
    count, unknown = len(set(names)), len(set(names)) - len(known)
    size = f"up to {_size(sizes.total(known.values()))}" if known else "of unknown size"
    more = f", {unknown} of them of unknown size" if known and unknown else ""
    say(f"  to download: {count} image{'s' if count > 1 else ''}, {size}{more}")
    return known


def architecture(docker: Docker) -> str:
    """That of the engine, as Go names it.

    Raises:
        ToolkitError: the engine does not answer.
    """
    return docker.check(docker("version", "--format", "{{.Server.Arch}}"), "ask the engine").stdout.strip()


def _pull_with_retries(project: Project, docker: Docker, pull: Pull) -> None:
    """Pull an image, again where that may help."""
    pauses: Iterator[float] = iter(PAUSES)
    while True:
        result = pull.run(docker)
        if pull.stalled:
            raise failures.stalled_error(project, pull.name, project.timeout("stall"))
        if result.code == 0 and not pull.stop.is_set():
            return
        error = failures.pull_error(project, pull.name, result, wants_login=pull.output.wants_login)
        pause = next(pauses, None)
        if pull.stop.is_set() or pause is None or not _is_transient(error):
            raise error
        if _is_busy(error):
            pause = _retry_after(pull.name) or pause
            if pause > LONGEST_PAUSE:
                raise error
        say(f"  {pull.name}: {error.why}; next try in {pause:g} s", "dim")
        pull.stop.wait(pause)


def _is_transient(error: ToolkitError) -> bool:
    return isinstance(error, failures.PullError) and error.cause.transient


def _is_busy(error: ToolkitError) -> bool:
    return isinstance(error, failures.PullError) and error.cause is failures.BUSY


def _retry_after(name: str) -> float | None:
    """The seconds after which a registry that answers 429 wants to be asked again, which docker does not print."""
    try:
        Registries().head(ImageName.parse(name))
    except RegistryError as error:
        return error.retry_after
    return 0


@dataclass
class _StallWatch:
    """Looks at the pulls that run: brings rows and lines up to date, and ends those that are stalled."""

    seconds: float
    pulls: Sequence[Pull]
    _printed: float = field(default_factory=time.monotonic)
    _before: int = 0

    def look(self, rows: Rows) -> None:
        """Once around."""
        now = time.monotonic()
        running = [pull for pull in self.pulls if pull.running]
        latest = max((pull.output.last_progress for pull in running), default=now)
        for pull in self.pulls:
            received, total = pull.output.received, pull.output.total or sum(pull.sizes.values()) or None
            rows.show(pull.name, received, received if pull.done else total)
        for pull in running:
            # The engine downloads some layers at a time, of all images: one that waits is as alive as the others.
            moved = latest if pull.output.queued else pull.output.last_progress
            if not pull.output.downloaded and now - moved > self.seconds:
                pull.stalled = True
                pull.stop.set()
        if not rows.terminal and running and now - self._printed >= LINE_EVERY:
            self._print(running, now)

    def _print(self, running: Sequence[Pull], now: float) -> None:
        received = sum(self._received().values())
        speed = (received - self._before) / (now - self._printed)
        said = ", ".join(f"{pull.name} {pull.progress()}" for pull in running)
        say(f"  … {_size(received)} so far, {_size(max(speed, 0))}/s; pulling {said}", "dim")
        self._printed, self._before = now, received

    def _received(self) -> dict[str, int]:
        """The bytes of each layer; images that share one get it once."""
        return {key: layer.received for pull in self.pulls for key, layer in tuple(pull.output.layers.items())}

    def cancel(self) -> None:
        """End all of them."""
        for pull in self.pulls:
            pull.stop.set()


def _by_short_id(layers: sizes.Layers) -> dict[str, int]:
    """Sizes by what docker prints of a digest."""
    return {digest.partition(":")[2][:12]: size for digest, size in layers.items()}


def _size(count: float) -> str:
    from rich.filesize import decimal

    return decimal(int(count))
