"""A registry of images on this machine: it serves one tiny image under every name and tag."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OCI = "application/vnd.oci.image"
USER, PASSWORD = "netmon", "let-me-in"
ERRORS = {
    "limits": (429, "TOOMANYREQUESTS", {"Retry-After": "1"}),
    "fails": (503, "UNAVAILABLE", {}),
    "lacks": (404, "MANIFEST_UNKNOWN", {}),
    "denies": (403, "DENIED", {}),
    "login": (401, "UNAUTHORIZED", {"WWW-Authenticate": 'Basic realm="images"'}),
}
"""The error responses to requests for a manifest, by kind of trouble; ``login`` requires one."""


@dataclass
class Trouble:
    """A fault of a repository: one of ERRORS, or ``cuts`` or ``stalls`` half-way through a layer.

    It affects the first ``times`` requests.
    """

    kind: str
    times: int = 10**6


@dataclass
class Registry:
    """The registry's content. Engine and builder accept plain HTTP from a loopback address."""

    architecture: str
    port: int = 0
    content: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    latest: str = ""
    moved: dict[str, str] = field(default_factory=dict)
    troubles: dict[str, Trouble] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def address(self) -> str:
        """The prefix of the names of images."""
        return f"localhost:{self.port}"

    def publish(self, text: str, size: int = 0) -> str:
        """Create an image with a file of ``text`` and one of ``size`` bytes; return the digest of its index."""
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as archive:
            for name, content in (("text", text.encode()), ("filler", os.urandom(size))):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        files = self._add(f"{OCI}.layer.v1.tar", layer.getvalue())
        platform = {"architecture": self.architecture, "os": "linux"}
        rootfs = {"type": "layers", "diff_ids": [files["digest"]]}
        config = self._add(f"{OCI}.config.v1+json", {**platform, "rootfs": rootfs, "config": {}})
        manifest = self._add(f"{OCI}.manifest.v1+json", {"config": config, "layers": [files]})
        index = self._add(f"{OCI}.index.v1+json", {"manifests": [{**manifest, "platform": platform}]})
        return str(index["digest"])

    def find(self, path: str) -> tuple[str, bytes] | None:
        """Media type and content at a path of the distribution API, or None."""
        match = re.fullmatch(r"/v2/(?P<name>.+)/(?:manifests|blobs)/(?P<reference>[^/]+)", path)
        if match is None:
            return ("application/json", b"{}") if path == "/v2/" else None
        reference = match["reference"]
        if not reference.startswith("sha256:"):
            reference = self.moved.get(match["name"], self.latest)
        return self.content.get(reference)

    def trouble(self, path: str, authorization: str) -> str:
        """The kind of trouble of this request, empty for none."""
        expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        logged_in = authorization == f"Basic {expected}"
        if path == "/v2/":  # where docker discovers the authentication method
            return "login" if not logged_in and any(each.kind == "login" for each in self.troubles.values()) else ""
        match = re.fullmatch(r"/v2/(?P<name>.+)/(?P<part>manifests|blobs)/[^/]+", path)
        trouble = self.troubles.get(match["name"]) if match else None
        if not match or not trouble or not trouble.times:
            return ""
        if (match["part"] == "manifests") != (trouble.kind in ERRORS):
            return ""
        if trouble.kind == "login" and logged_in:
            return ""
        if match["part"] == "blobs" and self.content[path.rpartition("/")[2]][0] != f"{OCI}.layer.v1.tar":
            return ""
        trouble.times -= 1
        return trouble.kind

    def _add(self, kind: str, content: bytes | dict[str, Any]) -> dict[str, Any]:
        if isinstance(content, dict):
            content = json.dumps({"schemaVersion": 2, "mediaType": kind, **content}).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.content[digest] = (kind, content)
        return {"mediaType": kind, "digest": digest, "size": len(content)}


@contextmanager
def serving(architecture: str, size: int = 0) -> Iterator[Registry]:
    """Run a registry while the block runs; its first image has a file of ``size`` bytes."""
    registry = Registry(architecture)
    registry.latest = registry.publish("one", size)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            registry.requests.append(f"{self.command} {self.path}")
            trouble = registry.trouble(self.path, self.headers.get("Authorization", ""))
            if trouble in ERRORS:
                status, code, headers = ERRORS[trouble]
                body = json.dumps({"errors": [{"code": code, "message": f"the test {trouble}"}]}).encode()
                self._answer(status, "application/json", body, headers)
                return
            found = registry.find(self.path)
            kind, content = found or ("application/json", b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}')
            digest = {"Docker-Content-Digest": f"sha256:{hashlib.sha256(content).hexdigest()}"}
            self._answer(200 if found else 404, kind, content, digest, trouble)

        do_HEAD = do_GET  # noqa: N815 - the name that the server calls

        def _answer(self, status: int, kind: str, content: bytes, headers: dict[str, str], trouble: str = "") -> None:
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "GET":
                return
            self.wfile.write(content[: len(content) // 2] if trouble else content)
            if trouble == "stalls":
                registry.closing.wait()
            self.close_connection = bool(trouble)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        registry.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield registry
        finally:
            registry.closing.set()
            server.shutdown()
