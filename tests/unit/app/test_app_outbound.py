"""The hosts that are probed through the proxy of all targets, and those that are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netmon.guard import Guard, is_public
from netmon.outbound import OutboundProxy

PROXY = OutboundProxy.parse("http://10.1.2.3:3128", exceptions="direct.example,192.0.43.0/24,2606:4700::1")
GUARD = Guard(proxy=PROXY)


@pytest.mark.parametrize(
    "host",
    [
        "example.org", "example.org.", "notdirect.example", "direct.example.org", "192.0.44.1", "2606:4700::2",
        "1.1.1.1", "xn--strae-oqa.de",
    ],
)  # fmt: skip
def test_hosts_behind_the_proxy(host: str) -> None:
    assert GUARD.proxy_to(host) is PROXY
    assert Guard().proxy_to(host) is None


@pytest.mark.parametrize(
    "host",
    [
        "app", "localhost", "localhost.", "direct.example", "a.Direct.example.", "192.0.43.8", "2606:4700::1",
        "10.0.0.1", "127.0.0.1", "127.1", "0x7f.1", "2130706433", "169.254.169.254", "::1", "::ffff:10.0.0.1",
        "64:ff9b::10.0.0.1",
    ],
)  # fmt: skip
def test_hosts_that_are_connected_to_directly(host: str) -> None:
    assert GUARD.proxy_to(host) is None


@given(st.ip_addresses())
def test_the_proxy_is_asked_for_no_address_that_is_not_public(address: object) -> None:
    """The guard, which this host asks before it connects, could not refuse it."""
    assert is_public(str(address)) or GUARD.proxy_to(str(address)) is None


def test_a_login_is_a_reference_to_a_secret() -> None:
    assert OutboundProxy.parse("http://proxy:3128", "secret:proxy").login == "secret:proxy"
    with pytest.raises(ValueError, match="not a reference"):
        OutboundProxy.parse("http://proxy:3128", "user:password")
