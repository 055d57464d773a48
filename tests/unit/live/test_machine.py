"""Settings that the test machine takes over from this one: the package index and proxies."""

from __future__ import annotations

import subprocess

import pytest

from tests.live import machine

PIP_CONFIG = """\
:env:.cert='/etc/ssl/certs/ca-certificates.crt'
:env:.find-links='/opt/wheels'
global.index-url='https://packages.example/simple'
global.trusted-host='packages.example'
"""


def test_the_package_index_is_taken_over_without_local_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(argv: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        assert argv[1:] == ["-m", "pip", "config", "list"]
        return subprocess.CompletedProcess(argv, 0, PIP_CONFIG, "")

    monkeypatch.setattr(subprocess, "run", run)
    index = {"PIP_INDEX_URL": "https://packages.example/simple", "PIP_TRUSTED_HOST": "packages.example"}
    assert machine.package_index() == index


def test_proxies_are_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "localhost")
    assert {"HTTPS_PROXY": "http://proxy.example:3128", "no_proxy": "localhost"}.items() <= machine.proxies().items()
