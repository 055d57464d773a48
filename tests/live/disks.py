"""Disks for the volumes of a stack: small ones, which fill up, with a write cache that a power cut empties.

A volatile disk is ext4 on a loop device on a file of nbdfuse, a client of nbdkit, whose filter ``cache`` keeps what is
written in its own memory until the disk is flushed (fsync): ``kill -9`` of nbdkit loses the rest, as a disk without
power does. The host's page cache is lost too, since what it writes afterwards reaches no disk.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.live.stack import until

PROGRAMS = ("nbdkit", "nbdfuse")
"""What a volatile disk needs: Debian's packages nbdkit and libnbd-bin, FUSE and loop devices in the kernel."""

SPARE = 4 << 20
"""Bytes that are written, not reserved: the list of a file's blocks takes some as well."""


def missing() -> str:
    """What this machine lacks for a volatile disk; empty if there is nothing."""
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    lacking += [device for device in ("/dev/fuse", "/dev/loop-control") if not Path(device).exists()]
    return f"no {', '.join(lacking)}: apt-get install nbdkit libnbd-bin" if lacking else ""


@dataclass
class Disk:
    """A mounted disk of ``size`` bytes in ``folder``, with a file that fills it."""

    folder: Path
    size: int
    volatile: bool = False
    _device: str = ""
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        with self.image.open("wb") as file:
            file.truncate(self.size)
        self.path.mkdir()
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", self.image], check=True)
        self.attach()

    @property
    def image(self) -> Path:
        """What is on the disk."""
        return self.folder / "disk.img"

    @property
    def path(self) -> Path:
        """Where it is mounted."""
        return self.folder / "disk"

    @property
    def filling(self) -> Path:
        """The file that fills it."""
        return self.path / "filling"

    @property
    def free(self) -> int:
        """The free bytes."""
        space = os.statvfs(self.path)
        return space.f_bavail * space.f_frsize

    def attach(self) -> None:
        """Switch it on, and mount it."""
        file = self._serve() if self.volatile else self.image
        find = ["losetup", "--find", "--show", str(file)]
        self._device = subprocess.run(find, check=True, capture_output=True, text=True).stdout.strip()
        subprocess.run(["mount", self._device, self.path], check=True)

    def _serve(self) -> Path:
        """The file of a running nbdfuse."""
        socket, served = self.folder / "socket", self.folder / "served"
        socket.unlink(missing_ok=True)
        served.touch()
        kit = ["nbdkit", "--foreground", f"--unix={socket}", "--filter=cache"]
        self._processes = [subprocess.Popen([*kit, "file", str(self.image), "cache=writeback"])]
        until(socket.exists, 10, "nbdkit")
        self._processes.append(subprocess.Popen(["nbdfuse", served, "--unix", socket]))
        until(lambda: served.stat().st_size == self.size, 10, "nbdfuse")
        return served

    def cut(self) -> None:
        """Cut its power: what was not flushed is lost, and whatever is written later fails."""
        cut([self])

    def detach(self) -> None:
        """Unmount it, in any state and although a process may still have files open."""
        subprocess.run(["umount", "--lazy", self.path], check=True)
        subprocess.run(["losetup", "--detach", self._device], check=False)
        if self._processes:
            # Ends nbdfuse if it runs; the file of a dead one has to be unmounted as well.
            subprocess.run(["umount", "--lazy", self.folder / "served"], check=False)
            for process in reversed(self._processes):
                process.send_signal(signal.SIGTERM)
                process.wait(30)
            self._processes = []

    def leave(self, free: int) -> None:
        """Fill it until so many bytes are free."""
        with self.filling.open("ab") as file:
            if (size := self.free - free) > 0:
                os.posix_fallocate(file.fileno(), file.tell(), size)

    def fill(self) -> None:
        """Leave no free byte."""
        with self.filling.open("ab", buffering=0) as file:
            os.posix_fallocate(file.fileno(), 0, max(self.free - SPARE, 1))
            file.seek(0, os.SEEK_END)
            with suppress(OSError):  # no space left
                while True:
                    file.write(bytes(1 << 16))
            with suppress(OSError):
                while True:
                    file.write(bytes(512))

    def empty(self) -> None:
        """Delete what fills it."""
        self.filling.unlink(missing_ok=True)


def cut(disks: Sequence[Disk]) -> None:
    """Cut the power of disks, as nearly at once as possible."""
    # Each nbdkit first: the other process only passes on what is written.
    for processes in zip(*(disk._processes for disk in disks), strict=True):
        for process in processes:
            process.kill()
    for disk in disks:
        for process in disk._processes:
            process.wait()
