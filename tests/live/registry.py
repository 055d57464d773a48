"""A registry of images on this machine: it has one tiny image, under every name and tag that it is asked for."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OCI = "application/vnd.oci.image"


@dataclass
class Registry:
    """What is served. Engine and builder speak plain HTTP to an address of the loopback interface."""

    architecture: str
    port: int = 0
    content: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    latest: str = ""
    moved: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """What stands before the names of images."""
        return f"localhost:{self.port}"

    def publish(self, text: str) -> str:
        """Make an image with a file that says ``text``; the digest of its list of platforms."""
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as archive:
            entry = tarfile.TarInfo("says")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
        files = self._add(f"{OCI}.layer.v1.tar", layer.getvalue())
        platform = {"architecture": self.architecture, "os": "linux"}
        rootfs = {"type": "layers", "diff_ids": [files["digest"]]}
        config = self._add(f"{OCI}.config.v1+json", {**platform, "rootfs": rootfs, "config": {}})
        manifest = self._add(f"{OCI}.manifest.v1+json", {"config": config, "layers": [files]})
        index = self._add(f"{OCI}.index.v1+json", {"manifests": [{**manifest, "platform": platform}]})
        return str(index["digest"])

    def find(self, path: str) -> tuple[str, bytes] | None:
        """Media type and content of a path of the distribution API, or None."""
        match = re.fullmatch(r"/v2/(?P<name>.+)/(?:manifests|blobs)/(?P<reference>[^/]+)", path)
        if match is None:
            return ("application/json", b"{}") if path == "/v2/" else None
        reference = match["reference"]
        if not reference.startswith("sha256:"):
            reference = self.moved.get(match["name"], self.latest)
        return self.content.get(reference)

    def _add(self, kind: str, content: bytes | dict[str, Any]) -> dict[str, Any]:
        if isinstance(content, dict):
            content = json.dumps({"schemaVersion": 2, "mediaType": kind, **content}).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.content[digest] = (kind, content)
        return {"mediaType": kind, "digest": digest, "size": len(content)}


@contextmanager
def serving(architecture: str) -> Iterator[Registry]:
    """A registry that answers while the block runs."""
    registry = Registry(architecture)
    registry.latest = registry.publish("one")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found = registry.find(self.path)
            kind, content = found or ("application/json", b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}')
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Docker-Content-Digest", f"sha256:{hashlib.sha256(content).hexdigest()}")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET  # noqa: N815 - the name that the server calls

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        registry.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield registry
        finally:
            server.shutdown()
