"""The reachability matrix: allowed connections, and possible ones that no entry allows."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.checkout.reachability import FILE, Connection, InvalidMatrixError, Matrix

TEXT = """
connections:
  - {to: "db:5432", from: [app], because: SQL}
  - {to: "app:3000", from: [], because: nobody connects}
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


def test_a_port_without_a_protocol_is_tcp(matrix: Matrix) -> None:
    assert matrix.ports("proxy") == {"8443/udp", "8080/tcp"}
    assert matrix.ports("world") == {""}


def test_a_port_on_one_network_is_open_there_only(tmp_path: Path) -> None:
    text = TEXT.replace("from: [], because: nobody connects", "from: [db], network: inner, because: only there")
    (tmp_path / FILE).write_text(text)
    matrix = Matrix.load(tmp_path)
    inner, outer = matrix.networks
    assert Connection("db", "app", "3000/tcp") in matrix.connections_in(inner)
    assert not {each for each in matrix.connections_in(outer) if each.to == "app"}


def test_unused_connections_are_possible_but_not_allowed(matrix: Matrix) -> None:
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
def test_an_invalid_matrix_is_an_error_with_a_fix(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(InvalidMatrixError) as raised:
        Matrix.load(tmp_path)
    assert raised.value.fix


def test_a_missing_matrix_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidMatrixError, match="cannot read"):
        Matrix.load(tmp_path)
