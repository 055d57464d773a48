"""Fixtures: both event loops, retries without delay, IPv6, impatient lookups, a certificate authority."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from netmon import probing
from netmon.probing import addresses, name_server, resolver, system_names


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both event loops: the worker uses uvloop."""
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture(autouse=True)
def _no_retry_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "RETRY_DELAY_SECONDS", 0)


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> trustme.CA:
    """A certificate authority that this host trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return authority


@pytest.fixture
def ipv6(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Sets whether this host has IPv6; at first it has."""

    def choose(available: bool) -> None:
        monkeypatch.setattr(addresses, "has_ipv6", lambda: available)
        monkeypatch.setattr(resolver, "has_route", lambda address: available or ":" not in address)

    choose(True)
    return choose


@pytest.fixture
def ipv4_only(ipv6: Callable[[bool], None]) -> None:
    """Without IPv6, there is one question for each name with IPv4."""
    ipv6(False)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions are repeated after 20 ms, and given up after 120 ms; the files are looked at each time."""
    monkeypatch.setattr(name_server, "RETRANSMISSIONS_SECONDS", (0.02, 0.1))
    monkeypatch.setattr(system_names, "CHECK_SECONDS", 0)
