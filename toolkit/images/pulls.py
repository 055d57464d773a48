"""Pull published images in parallel, the largest first, with progress in bytes and detection of stalls.

`docker pull` is used because it honours docker's contexts, mirrors and logins. It prints bytes only on a terminal, so
it gets a pseudo-terminal (`compose.run`, ``watch``): without bytes, a large layer on a slow line is indistinguishable
from a stalled registry. `docker compose pull --progress=json` prints bytes as well, but not in the oldest supported
Compose, and the engine's API does not use docker's logins.
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
from toolkit.engine.compose import Docker, Result
from toolkit.engine.timeouts import TimedOutError
from toolkit.images import failures, sizes
from toolkit.images.layers import PullOutput
from toolkit.images.registry import ImageName, Registries, RegistryError

AT_ONCE = 4
PAUSES = (2.0, 8.0, 20.0)
"""Seconds before each retry, unless the registry sends Retry-After."""
LONGEST_PAUSE = 60.0
LINE_EVERY = 15.0
"""Seconds between two progress lines, if the output is not a terminal."""
ALIVE = 1 / 3
"""The last fraction of a probe's timeout in which a slow, but not stalled, download makes progress."""


@dataclass
class Pull:
    """The pull of one image."""

    name: str
    sizes: Mapping[str, int] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    running: bool = False
    done: bool = False
    stalled: bool = False
    output: PullOutput = field(default_factory=PullOutput)

    def run(self, docker: Docker, timeout: float | None = None) -> Result:
        """One attempt, cancelled by ``stop``.

        Raises:
            TimedOutError: the attempt exceeded ``timeout``, in seconds.
        """
        self.output, self.running = PullOutput(self.sizes), True
        try:
            return docker("pull", self.name, watch=self._feed, stop=self.stop, timeout=timeout)
        finally:
            self.running = False

    def _feed(self, line: str) -> None:
        self.output.feed(line)
        if self.output.wants_login:  # docker prompts even without an interactive terminal
            self.stop.set()

    def progress(self) -> str:
        """The received bytes, and the total if it is known."""
        total = self.output.total
        return _size(self.output.received) + (f" of {_size(total)}" if total else "")


def pull(project: Project, docker: Docker, names: Sequence[str]) -> None:
    """Pull images, even if they exist on this host.

    Transient failures are retried. A pull fails when it makes no progress for some time; its total time is unlimited.

    Raises:
        ToolkitError: an image cannot be pulled; pulls that were already running have been completed.
    """
    if not names:
        return
    known = _announce(project, docker, names)
    ordered = sorted(dict.fromkeys(names), key=lambda name: -sum(known.get(name, {}).values()))
    pulls = {name: Pull(name, _by_short_id(known.get(name, {}))) for name in ordered}
    monitor = _StallMonitor(project.timeout("stall"), list(pulls.values()))

    def pull_one(name: str) -> str:
        _pull_with_retries(project, docker, pulls[name])
        pulls[name].done = True
        return _size(pulls[name].output.received)

    from rich.progress import BarColumn, DownloadColumn, TransferSpeedColumn

    columns = (BarColumn(bar_width=20), DownloadColumn(), TransferSpeedColumn())
    run_in_parallel(
        ordered, pull_one, "pulled", workers=AT_ONCE, columns=columns, refresh=monitor.refresh, cancel=monitor.cancel
    )


def probe(project: Project, docker: Docker, name: str, seconds: float) -> None:
    """Probe a registry with the pull of a small image; a slow download counts as success.

    Raises:
        ToolkitError: the registry is not usable.
    """
    for last in (False, True):
        attempt = Pull(name)
        try:
            result = attempt.run(docker, timeout=seconds)
        except TimedOutError as error:
            if attempt.output.received and time.monotonic() - attempt.output.last_progress < ALIVE * seconds:
                return
            if attempt.output.layers:
                raise failures.stalled_error(project, name, seconds) from error
            raise failures.no_answer_error(project, name, seconds) from error
        if result.code == 0 and not attempt.output.wants_login:
            return
        failure = failures.pull_error(project, name, result, wants_login=attempt.output.wants_login)
        pause = _retry_after(name) if _is_busy(failure) else None
        if last or pause is None or pause > seconds:
            raise failure
        time.sleep(pause)


def _announce(project: Project, docker: Docker, names: Sequence[str]) -> dict[str, sizes.Layers]:
    """Print the download size; returns the layers of each image whose registry answers."""
    known = sizes.layers(names, architecture(docker), project.timeout("registry"))
    count, unknown = len(set(names)), len(set(names)) - len(known)
    size = f"up to {_size(sizes.total(known.values()))}" if known else "of unknown size"
    more = f", {unknown} of them of unknown size" if known and unknown else ""
    say(f"  to download: {count} image{'s' if count > 1 else ''}, {size}{more}")
    return known


def architecture(docker: Docker) -> str:
    """The engine's architecture, in Go's notation.

    Raises:
        ToolkitError: the engine does not answer.
    """
    return docker.check(docker("version", "--format", "{{.Server.Arch}}"), "query the engine").stdout.strip()


def _pull_with_retries(project: Project, docker: Docker, pull: Pull) -> None:
    """Pull an image, retrying transient failures."""
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
        say(f"  {pull.name}: {error.why}; retrying in {pause:g} s", "dim")
        pull.stop.wait(pause)


def _is_transient(error: ToolkitError) -> bool:
    return isinstance(error, failures.PullError) and error.cause.transient


def _is_busy(error: ToolkitError) -> bool:
    return isinstance(error, failures.PullError) and error.cause is failures.BUSY


def _retry_after(name: str) -> float | None:
    """The Retry-After of a registry that answers 429, in seconds: docker does not print it."""
    try:
        Registries().head(ImageName.parse(name))
    except RegistryError as error:
        return error.retry_after
    return 0


@dataclass
class _StallMonitor:
    """Monitors the running pulls: updates the progress display, and cancels stalled pulls."""

    seconds: float
    pulls: Sequence[Pull]
    _printed: float = field(default_factory=time.monotonic)
    _before: int = 0

    def refresh(self, rows: Rows) -> None:
        """Update rows and lines, and cancel pulls without progress."""
        now = time.monotonic()
        running = [pull for pull in self.pulls if pull.running]
        latest = max((pull.output.last_progress for pull in running), default=now)
        for pull in self.pulls:
            received, total = pull.output.received, pull.output.total or sum(pull.sizes.values()) or None
            rows.show(pull.name, received, received if pull.done else total)
        for pull in running:
            # The engine limits concurrent layer downloads across all images: a queued pull progresses with the others.
            last_progress = latest if pull.output.queued else pull.output.last_progress
            if not pull.output.downloaded and now - last_progress > self.seconds:
                pull.stalled = True
                pull.stop.set()
        if not rows.terminal and running and now - self._printed >= LINE_EVERY:
            self._print(running, now)

    def _print(self, running: Sequence[Pull], now: float) -> None:
        received = sum(self._received().values())
        speed = (received - self._before) / (now - self._printed)
        progress = ", ".join(f"{pull.name} {pull.progress()}" for pull in running)
        say(f"  … {_size(received)} so far, {_size(max(speed, 0))}/s; pulling {progress}", "dim")
        self._printed, self._before = now, received

    def _received(self) -> dict[str, int]:
        """The received bytes of each layer; shared layers are counted once."""
        return {key: layer.received for pull in self.pulls for key, layer in tuple(pull.output.layers.items())}

    def cancel(self) -> None:
        """Cancel all pulls."""
        for pull in self.pulls:
            pull.stop.set()


def _by_short_id(layers: sizes.Layers) -> dict[str, int]:
    """Layer sizes by the short id that docker prints."""
    return {digest.partition(":")[2][:12]: size for digest, size in layers.items()}


def _size(count: float) -> str:
    from rich.filesize import decimal

    return decimal(int(count))
