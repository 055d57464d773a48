"""ENABLE_IPV6: workers probe addresses of IPv6, and no longer once the setting is off."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network

from tests.live import pipeline
from tests.live.stack import Stack, until


def test_targets_with_ipv6_only_are_up_while_ipv6_is_enabled(own_stack: Stack) -> None:
    """`up` replaces the network in both directions."""
    enable(own_stack, "true")
    [subnet] = [each for each in subnets(own_stack) if ip_network(each["Subnet"]).version == 6]
    assert ip_network(subnet["Subnet"]).is_private
    with server(subnet["Gateway"]) as url:
        target = pipeline.add_target(own_stack, url)
        until(lambda: pipeline.state(own_stack, target) == "up", 30, "the target with an IPv6 address to be up")
    assert "the worker has IPv6" in own_stack.invoke("doctor", check=False).stdout

    enable(own_stack, "false")
    assert {ip_network(each["Subnet"]).version for each in subnets(own_stack)} == {4}
    until(lambda: pipeline.state(own_stack, target) == "down", 30, "the target to be down without IPv6")
    assert pipeline.probes(own_stack, target)[-1]["error"] == "no_ipv6"
    assert "the worker has no IPv6" in own_stack.invoke("doctor", check=False).stdout


def test_another_value_is_refused_with_the_name_of_the_setting(own_stack: Stack) -> None:
    with (own_stack.root / ".env").open("a") as settings:
        settings.write("ENABLE_IPV6=perhaps\n")
    done = own_stack.invoke("up", "--without=monitoring", "--no-smoke", check=False)
    assert done.returncode == 1
    assert "set ENABLE_IPV6 in .env to true or false" in done.stdout + done.stderr
    assert own_stack.containers() == []


def enable(stack: Stack, value: str) -> None:
    """Start the stack with this value."""
    path = stack.root / ".env"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("ENABLE_IPV6=")]
    path.write_text("\n".join([*lines, f"ENABLE_IPV6={value}", ""]))
    stack.invoke("up", "--without=monitoring", "--no-smoke", timeout=900)


def subnets(stack: Stack) -> list[dict[str, str]]:
    """The subnets of the way out."""
    found = stack.docker("network", "inspect", f"{stack.name}_egress-network", "--format={{json .IPAM.Config}}")
    subnets: list[dict[str, str]] = json.loads(found)
    return subnets


@contextmanager
def server(address: str) -> Iterator[str]:
    """A web server at an IPv6 address of this host."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6

    served = Server((address, 0), Handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    try:
        yield f"http://[{address}]:{served.server_port}/"
    finally:
        served.shutdown()
        served.server_close()
