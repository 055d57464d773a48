"""What a matrix of reachability says: who may, and who could although nobody lets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.checkout.reachability import FILE, Connection, InvalidMatrixError, Matrix

TEXT = """
connections:
  - {to: "db:5432", from: [app], because: SQL}
  - {to: "app:3000", from: [], because: unasked}
  - {to: "proxy:8443/udp", from: [world], because: HTTP/3}
  - {to: "proxy:8080", from: [world], because: HTTP}
  - {to: world, from: [app], because: updates}
networks:
  inner: {members: [app, db], unused: coarse}
  outer: {members: [app, proxy, host], world: true, unused: coarse}
"""


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    (tmp_path / FILE).write_text(TEXT)
    return Matrix.load(tmp_path)


def test_ports_are_tcp_unless_they_say_otherwise(matrix: Matrix) -> None:
    assert matrix.ports("proxy") == {"8443/udp", "8080/tcp"}
    assert matrix.ports("world") == {""}


def test_what_is_open_without_being_allowed(matrix: Matrix) -> None:
    assert Connection("app", "db", "5432/tcp") in matrix.allowed
    assert matrix.unused == {
        Connection("db", "app", "3000/tcp"),
        *(Connection("app", "proxy", port) for port in ("8443/udp", "8080/tcp")),
        Connection("proxy", "app", "3000/tcp"),
        *(Connection("host", "proxy", port) for port in ("8443/udp", "8080/tcp")),
        Connection("host", "app", "3000/tcp"),
        Connection("app", "host"),
        Connection("proxy", "host"),
        Connection("proxy", "world"),
    }


@pytest.mark.parametrize("text", ["", "connections: []", "connections: [{to: a}]\nnetworks: {}", "networks: ["])
def test_a_broken_matrix(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(InvalidMatrixError) as raised:
        Matrix.load(tmp_path)
    assert raised.value.fix


def test_no_matrix(tmp_path: Path) -> None:
    with pytest.raises(InvalidMatrixError, match="cannot read"):
        Matrix.load(tmp_path)
