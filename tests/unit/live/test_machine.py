"""What the machine of the tests takes over of this one: where packages are found, and by which proxy."""

from __future__ import annotations

import subprocess

import pytest

from tests.live import machine

LISTED = """\
:env:.cert='/etc/ssl/certs/ca-certificates.crt'
:env:.find-links='/opt/wheels'
global.index-url='https://packages.example/simple'
global.trusted-host='packages.example'
"""


def test_the_package_index_is_taken_over_and_nothing_that_is_a_path_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(argv: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        assert argv[1:] == ["-m", "pip", "config", "list"]
        return subprocess.CompletedProcess(argv, 0, LISTED, "")

    monkeypatch.setattr(subprocess, "run", run)
    index = {"PIP_INDEX_URL": "https://packages.example/simple", "PIP_TRUSTED_HOST": "packages.example"}
    assert machine.package_index() == index


def test_proxies_are_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "localhost")
    assert {"HTTPS_PROXY": "http://proxy.example:3128", "no_proxy": "localhost"}.items() <= machine.proxies().items()
