"""The fault-injecting proxy of the test registry: affected requests, kinds of faults, and their number."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from email.message import Message
from http.client import HTTPConnection, IncompleteRead
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.fixtures.registry import proxy

MANIFEST, BLOB = "/v2/library/redis/manifests/8", "/v2/library/redis/blobs/sha256:1"
CONTENT = b"0123456789" * 300_000


class Store(BaseHTTPRequestHandler):
    """A registry with every path; responses echo the request headers that the proxy must pass on."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.send_header("Docker-Content-Digest", "|".join((self.headers["Accept"] or "", self.headers["Range"] or "")))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(CONTENT)

    do_HEAD = do_GET  # noqa: N815 - the name that the server calls

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base
        """Log nothing."""


@pytest.fixture
def ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, Path]]:
    """The port of a proxy in front of a registry, and the file with the fault."""
    fault = tmp_path / "fault.json"
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for handler in (Store, proxy.Handler)]
    monkeypatch.setattr(proxy.Handler, "registry", ("127.0.0.1", servers[0].server_port))
    monkeypatch.setattr(proxy.Handler, "faults", proxy.Faults(fault))
    for server in servers:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield servers[1].server_port, fault
    for server in servers:
        server.shutdown()
        server.server_close()


def request(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, Message, bytes]:
    """Status, headers and content of a response."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=1)) as connection:
        connection.putrequest(method, path)
        for name, value in (*headers.items(), ("Accept", "application/one"), ("Accept", "application/two")):
            connection.putheader(name, value)
        connection.endheaders()
        with connection.getresponse() as answer:
            return answer.status, answer.headers, answer.read()


@pytest.mark.parametrize("path", [MANIFEST, BLOB])
def test_requests_are_passed_on_without_a_fault(ports: tuple[int, Path], path: str) -> None:
    _, headers, content = request(ports[0], path, Range="bytes=5-")
    assert headers["Docker-Content-Digest"] == "application/one, application/two|bytes=5-"
    assert content == CONTENT
    _, headers, content = request(ports[0], path, "HEAD")
    assert (headers["Content-Length"], content) == (str(len(CONTENT)), b"")


@pytest.mark.parametrize(
    ("kind", "path", "status"),
    [("limit", MANIFEST, 429), ("lacks", MANIFEST, 404), ("login", MANIFEST, 401), ("login", "/v2/", 401)],
)
def test_a_refusal_has_status_and_headers(ports: tuple[int, Path], kind: str, path: str, status: int) -> None:
    ports[1].write_text(json.dumps({"kind": kind}))
    actual, headers, content = request(ports[0], path)
    assert actual == status
    assert json.loads(content)["errors"]
    assert (headers["Retry-After"] == "1") == (kind == "limit")
    assert ("WWW-Authenticate" in headers) == (kind == "login")


def test_the_right_login_is_accepted(ports: tuple[int, Path]) -> None:
    ports[1].write_text('{"kind": "login"}')
    assert request(ports[0], MANIFEST, Authorization=proxy.ACCOUNT)[0] == 200


def test_a_blob_is_truncated(ports: tuple[int, Path]) -> None:
    ports[1].write_text('{"kind": "cut"}')
    with pytest.raises(IncompleteRead) as error:
        request(ports[0], BLOB)
    assert error.value.partial == CONTENT[: len(CONTENT) // 2]
    assert request(ports[0], MANIFEST)[2] == CONTENT


@pytest.mark.parametrize(("kind", "path"), [("stall", BLOB), ("silent", "/v2/")])
def test_a_stalled_response_times_out(ports: tuple[int, Path], kind: str, path: str) -> None:
    ports[1].write_text(json.dumps({"kind": kind}))
    with pytest.raises(TimeoutError):
        request(ports[0], path)


def test_a_fault_affects_the_named_repository_a_number_of_times(ports: tuple[int, Path]) -> None:
    ports[1].write_text('{"kind": "lacks", "name": "library/redis", "times": 2}')
    assert request(ports[0], "/v2/library/postgres/manifests/18")[0] == 200
    assert [request(ports[0], MANIFEST)[0] for _ in range(3)] == [404, 404, 200]
    ports[1].write_text('{"kind": "lacks", "name": "library/redis", "times": 1}')
    assert [request(ports[0], MANIFEST)[0] for _ in range(2)] == [404, 200]
    ports[1].write_text('{"kind": "lacks"}')
    assert request(ports[0], MANIFEST)[0] == 404
    ports[1].unlink()
    assert request(ports[0], MANIFEST)[0] == 200
