"""Static files: read and compressed once, and served under URLs that change with their contents."""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parent / "static"
TEXT = frozenset({"text/css", "text/javascript", "text/html", "image/svg+xml"})
MIN_COMPRESSED_SIZE = 1024
"""Smaller files are not compressed; bytes."""


@dataclass(frozen=True)
class Asset:
    """A static file, or a rendered page."""

    content: bytes
    media_type: str

    @cached_property
    def compressed(self) -> bytes:
        """The content, compressed with gzip."""
        # Level 6 takes half the time of 9 for a page, which is compressed for each request, at nearly the same size.
        return gzip.compress(self.content, 6, mtime=0)


class Assets:
    """All files below a folder, by their relative path.

    `version` is a digest of all files. It precedes the path in a URL (`/static/<version>/page.js`), so that relative
    references between files are to the same version.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self.files = {
            path.relative_to(root).as_posix(): Asset(path.read_bytes(), _media_type(path.name))
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }
        digest = hashlib.sha256()
        for name, asset in self.files.items():
            digest.update(f"{name}\0{len(asset.content)}\0".encode() + asset.content)
        self.version = digest.hexdigest()[:12]

    def url(self, name: str) -> str:
        """The URL path of a file.

        Raises:
            KeyError: there is no such file.
        """
        self.files[name]
        return f"/static/{self.version}/{name}"


def _media_type(name: str) -> str:
    # Explicit, since the tables of the machine may differ, and browsers refuse wrong types (nosniff).
    known = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    return known.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "text/plain"
