"""The packages in an image, read from its files without running it."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import tarfile
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath
from posixpath import normpath

from toolkit.core.errors import ToolkitError
from toolkit.engine.compose import Docker

DISTRIBUTION = {"etc/os-release", "usr/lib/os-release", "lib/apk/db/installed", "var/lib/dpkg/status"}
VENDORED = "netmon/page/vendored.json"
"""The application's register of vendored files; folders are relative to its own."""
_METADATA = re.compile(rf"\.dist-info/(METADATA|RECORD)$|^var/lib/dpkg/status\.d/[^/]+$|(^|/){re.escape(VENDORED)}$")


@dataclass(frozen=True)
class Package:
    """A package in an image.

    Attributes:
        kind: The type of its package URL: ``pypi``, ``deb``, ``apk``, or that of a vendored package.
        name: Its name.
        version: Its version.
        license: The licence that its metadata declares.
        architecture: Its architecture; only of a distribution's packages.
        path: The folder with its metadata or its vendored files.
        register: The file with the digests of its files; a distribution's packages have none.
        sha256: The digest (hex) of ``register``.
    """

    kind: str
    name: str
    version: str
    license: str = ""
    architecture: str = ""
    path: str = ""
    register: str = ""
    sha256: str = ""


@dataclass
class Contents:
    """The files of an image: the SHA-256 of each, and the text of those with package metadata."""

    hashes: dict[str, bytes] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def system(self) -> dict[str, str]:
        """The variables of os-release; empty if the image has no distribution."""
        text = self.texts.get("etc/os-release") or self.texts.get("usr/lib/os-release", "")
        return dict(re.findall(r'^(\w+)="?(.*?)"?$', text, re.MULTILINE))


def read(docker: Docker, image: str) -> Contents:
    """The contents of an image that exists on this host.

    Raises:
        ToolkitError: the image does not exist, or its files cannot be read.
    """
    created = docker("create", image, "none")  # an image without a command needs a placeholder, which never runs
    if created.code and "No such image" in created.stderr:
        raise ToolkitError(f"the image {image} does not exist", fix="run: invoke images.build")
    container = docker.check(created, f"open {image}").stdout.strip()
    try:
        with tempfile.TemporaryDirectory(prefix="netmon-contents-") as folder:
            archive = Path(folder, "files.tar")
            docker.check(docker("export", f"--output={archive}", container), f"read the files of {image}")
            return unpack(archive)
    finally:
        docker("rm", container)


def unpack(archive: Path) -> Contents:
    """The contents of an image, from a tar archive of all its files."""
    contents = Contents()
    with tarfile.open(archive) as files:
        for entry in files:
            stream = files.extractfile(entry) if entry.isreg() else None
            if stream is None:
                continue
            name, data = entry.name.removeprefix("./"), stream.read()
            contents.hashes[name] = hashlib.sha256(data).digest()
            if name in DISTRIBUTION or _METADATA.search(name):
                contents.texts[name] = data.decode(errors="replace")
    return contents


def packages(contents: Contents) -> list[Package]:
    """Every package in an image, sorted by kind and name.

    Raises:
        ToolkitError: there is none, or a file of a Python or vendored package does not match its recorded digest.
    """
    found = {*_python(contents), *_vendored(contents), *_debian(contents.texts), *_alpine(contents.texts)}
    if not found:
        raise ToolkitError("no packages found in the image", "it has no package metadata in a supported format")
    return sorted(found, key=lambda package: (package.kind, package.name, package.version, package.path))


def _python(contents: Contents) -> Iterator[Package]:
    for name, text in contents.texts.items():
        if not name.endswith("/METADATA"):
            continue
        data = HeaderParser().parsestr(text)
        register = name.replace("METADATA", "RECORD")
        if register in contents.texts:
            _require_unchanged(contents, register)
        yield Package(
            "pypi",
            re.sub(r"[-_.]+", "-", data["Name"]).lower(),
            data["Version"],
            license=_license(data),
            path=str(PurePosixPath("/", name).parent),
            register=f"/{register}" if register in contents.texts else "",
            sha256=contents.hashes[register].hex() if register in contents.texts else "",
        )


def _license(data: Message) -> str:
    """The licence of a Python package, if its metadata has it on one line."""
    text = data["License-Expression"] or data["License"] or ""
    return "" if "\n" in text or len(text) > 100 else text


def _require_unchanged(contents: Contents, register: str) -> None:
    """Verify the files of a Python package against the digests recorded at its installation."""
    root = PurePosixPath(register).parents[1]
    for row in csv.reader(contents.texts[register].splitlines()):
        file, digest = normpath(f"{root}/{row[0]}"), row[1]
        if not digest.startswith("sha256="):
            continue  # compiled files, and the register itself
        found = contents.hashes.get(file, b"")
        if urlsafe_b64encode(found).decode().rstrip("=") != digest.removeprefix("sha256="):
            state = "was changed after installation" if found else "is missing"
            raise ToolkitError(f"/{file} {state}", f"/{register} has another digest", "rebuild the image")


def _vendored(contents: Contents) -> Iterator[Package]:
    for register, text in contents.texts.items():
        if not register.endswith(VENDORED):
            continue
        for data in json.loads(text):
            folder = f"{PurePosixPath(register).parent}/{data['folder']}"
            known = {f"{folder}/{file}": digest for file, digest in data["sha256"].items()}
            found = {file: digest.hex() for file, digest in contents.hashes.items() if file.startswith(f"{folder}/")}
            for file in sorted(known.keys() | found.keys()):
                if known.get(file) != found.get(file):
                    state = "is missing" if file not in found else "does not match its register"
                    raise ToolkitError(f"/{file} {state}", f"/{register} has another digest, or none")
            yield Package(
                data["kind"],
                data["name"],
                data["version"],
                data["license"],
                path=f"/{folder}",
                register=f"/{register}",
                sha256=contents.hashes[register].hex(),
            )


def _debian(texts: Mapping[str, str]) -> Iterator[Package]:
    status = [text for name, text in texts.items() if name.startswith("var/lib/dpkg/status")]
    for paragraph in "\n\n".join(status).split("\n\n"):
        data = HeaderParser().parsestr(paragraph.strip())
        if data["Package"] and (data["Status"] or "installed").endswith("installed"):
            yield Package("deb", data["Package"], data["Version"], architecture=data["Architecture"] or "")


def _alpine(texts: Mapping[str, str]) -> Iterator[Package]:
    for paragraph in texts.get("lib/apk/db/installed", "").split("\n\n"):
        data = dict(line.split(":", 1) for line in paragraph.splitlines() if ":" in line)
        if "P" in data:
            yield Package("apk", data["P"], data["V"], data.get("L", ""), data.get("A", ""))
