"""Static files: read once, compressed once, and served under an address that changes with their contents."""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parent / "static"
TEXT = frozenset({"text/css", "text/javascript", "text/html", "image/svg+xml"})
WORTH_COMPRESSING = 1024


@dataclass(frozen=True)
class Asset:
    """One file."""

    content: bytes
    media_type: str

    @cached_property
    def compressed(self) -> bytes:
        """The same, through gzip."""
        return gzip.compress(self.content, mtime=0)


class Assets:
    """All files below a folder, by their path in it.

    `version` is a digest of all of them. It stands before the path in an address (`/static/<version>/page.js`), so
    that what one file says of another by a relative path is of the same version.
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
        """The address of a file.

        Raises:
            KeyError: there is no such file.
        """
        self.files[name]
        return f"/static/{self.version}/{name}"


def _media_type(name: str) -> str:
    # A type that a machine's own tables could name differently would be refused by browsers (nosniff).
    known = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    return known.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "text/plain"
