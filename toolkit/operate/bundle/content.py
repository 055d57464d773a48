"""The content of a bundle: a tar archive whose first member has the checksums of all others."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from toolkit.core.errors import ToolkitError

SUMS, MANIFEST, IMAGES = "SHA256SUMS", "manifest.json", "images.tar.gz"
PACKAGES, CHECKOUT = "packages", "network-monitor"
"""Folders of the bundle."""
FORMAT = 1
CHUNK_BYTES = 1024 * 1024
COPY_AGAIN = "copy it again, and compare the size with that of the original"


@dataclass(frozen=True)
class Manifest:
    """The release and the platform of a bundle, and its content.

    Attributes:
        format: The version of the format.
        version: The release, for people.
        commit: The commit of the checkout.
        machine: The architecture of the images and packages, as ``uname -m`` shows it.
        set: The image set, ``pulled`` or ``local``.
        profile: The profile whose images are in it.
        images: The id of each image by its name.
        settings: The settings on which these names depend.
    """

    format: int
    version: str
    commit: str
    machine: str
    set: str
    profile: str
    images: Mapping[str, str]
    settings: Mapping[str, str]

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"


def write(folder: Path, target: Path) -> None:
    """Pack a folder; the archive appears under its name when it is complete.

    Raises:
        OSError: the disk is full, or the target cannot be written.
    """
    names = sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file())
    sums = "".join(f"{digest(folder / name)}  {name}\n" for name in names)
    (folder / SUMS).write_text(sums, encoding="utf-8")
    unfinished = target.with_name(f".{target.name}.part")
    try:
        with tarfile.open(unfinished, "w") as archive:
            # The images last: the rest is read without them.
            for name in (SUMS, MANIFEST, PACKAGES, CHECKOUT, IMAGES):
                archive.add(folder / name, arcname=name, filter=_anonymous)
        with unfinished.open("rb") as stream:
            os.fsync(stream.fileno())
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass
class Bundle:
    """An opened bundle."""

    path: Path
    archive: tarfile.TarFile
    sums: Mapping[str, str]
    manifest: Manifest

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[Bundle]:
        """A bundle that is open during the block.

        Raises:
            ToolkitError: it cannot be read, is not a bundle, is damaged, or is for another kind of machine.
        """
        try:
            archive = tarfile.open(path)  # noqa: SIM115 - closed below
        except OSError as error:
            raise ToolkitError(f"cannot read {path}", error.strerror or str(error)) from error
        except tarfile.TarError as error:
            raise _no_bundle(path, error) from error
        with archive:
            try:
                text = _read(archive, SUMS).decode()
                sums = {name: value for value, _, name in (line.partition("  ") for line in text.splitlines())}
                content = _read(archive, MANIFEST)
                if hashlib.sha256(content).hexdigest() != sums.get(MANIFEST):
                    raise damaged(path, MANIFEST)
                manifest = Manifest(**json.loads(content))
            except (tarfile.TarError, OSError, KeyError, ValueError, TypeError) as error:
                raise _no_bundle(path, error) from error
            _require_suitable(path, manifest)
            yield cls(path, archive, sums, manifest)

    def extract(self, name: str, target: Path) -> None:
        """Extract a file and verify its checksum.

        Raises:
            ToolkitError: it is damaged or missing, or the disk is full; there is no file then.
        """
        computed = hashlib.sha256()
        try:
            with target.open("wb") as out:
                for chunk in self._chunks(name):
                    computed.update(chunk)
                    out.write(chunk)
            if computed.hexdigest() == self.sums.get(name):
                return
        except OSError as error:
            target.unlink(missing_ok=True)
            raise ToolkitError(f"cannot extract {name}", error.strerror or str(error), "free disk space") from error
        target.unlink()
        raise damaged(self.path, name)

    def _chunks(self, name: str) -> Iterator[bytes]:
        try:
            stream: IO[bytes] | None = self.archive.extractfile(name)
            while stream and (chunk := stream.read(CHUNK_BYTES)):
                yield chunk
        except (tarfile.TarError, KeyError) as error:
            raise damaged(self.path, name) from error

    def differing(self, root: Path) -> list[str]:
        """The files of a checkout that are not those of the bundle; without those that only git has."""
        prefix = f"{CHECKOUT}/"
        inner = {name.removeprefix(prefix): value for name, value in self.sums.items() if name.startswith(prefix)}
        own = {name: value for name, value in inner.items() if not name.startswith(".git/")}
        return sorted(name for name, value in own.items() if not _is(root / name, value))


def _is(path: Path, value: str) -> bool:
    try:
        return digest(path) == value
    except OSError:
        return False


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    if stream is None:
        raise KeyError(name)
    return stream.read()


def damaged(path: Path, name: str) -> ToolkitError:
    """The error for a file whose content is not that of its checksum."""
    return ToolkitError(f"{path} is damaged", f"{name} has another checksum than in {SUMS}", COPY_AGAIN)


def _no_bundle(path: Path, error: Exception) -> ToolkitError:
    return ToolkitError(f"cannot read {path}", f"it is not a bundle, or it is incomplete: {error}", COPY_AGAIN)


def _require_suitable(path: Path, manifest: Manifest) -> None:
    """Return if this checkout reads the format, and this host runs the images.

    Raises:
        ToolkitError: it does not.
    """
    if manifest.format != FORMAT:
        why = f"its format is {manifest.format}, this checkout reads format {FORMAT}"
        raise ToolkitError(f"cannot use {path}", why, f"tar -xf {path} {CHECKOUT}, and use that checkout")
    if manifest.machine != platform.machine():
        why = f"it is for {manifest.machine}, this host is {platform.machine()}"
        raise ToolkitError(f"cannot use {path}", why, "make a bundle on a host of this architecture")
