"""Targets of each kind in the running stack: up, down with its reason, and slow."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.live import service_stub
from tests.live.service_stub import BANNER, CERTIFICATE, GRPC, GRPC_TLS, SICK, SILENT, SMTP, TLS
from tests.live.stack import Stack, until
from tests.live.test_targets import Api

HOST = "service-stub.example"
BUNDLE = "import os, ssl; print(os.path.realpath(ssl.get_default_verify_paths().cafile or '{}'))".format(
    "/etc/ssl/certs/ca-certificates.crt"
)


@pytest.fixture(scope="module")
def api(stack: Stack) -> Iterator[Api]:
    """The API of the stack, whose worker trusts the authority of the services that run beside it."""
    authority = trustme.CA()
    expiry = datetime.now(UTC) + timedelta(days=20)
    certificate = authority.issue_cert(HOST, not_after=expiry).private_key_and_cert_chain_pem.bytes().decode()
    program = Path(service_stub.__file__).read_text(encoding="utf-8")
    name = f"{stack.name}-service-stub"
    stack.docker(
        "run", "--detach", "--name", name, f"--label=com.docker.compose.project={stack.name}",
        f"--network={stack.name}_egress-network", f"--network-alias={HOST}", f"--env={CERTIFICATE}={certificate}",
        "--sysctl=net.ipv4.icmp_echo_ignore_all=1", "--entrypoint=python",
        stack.container("worker")["Config"]["Image"], "-c", program,
    )  # fmt: skip
    worker = stack.containers("worker")[0]
    bundle = stack.exec("worker", "python", "-c", BUNDLE).strip()
    root = ("docker", "exec", "--user=root", "--interactive", worker, "sh", "-c")
    try:
        until(lambda: "ready" in stack.docker("logs", name), 20, "the services to listen")
        stack.run(*root, f"cp {bundle} /tmp/bundle && cat >>{bundle}", text=authority.cert_pem.bytes().decode())
        stack.control("restart", "worker")
        stack.wait_until_recovered()
        yield Api(stack)
    finally:
        stack.docker("rm", "--force", name)
        stack.run(*root, f"if [ -f /tmp/bundle ]; then cat /tmp/bundle >{bundle}; fi", check=False)
        stack.control("restart", "worker")
        stack.wait_until_recovered()


def tcp(port: int, **more: Any) -> dict[str, Any]:
    return {"kind": "tcp", "host": HOST, "port": port, **more}


def tls(**more: Any) -> dict[str, Any]:
    return {"kind": "tls", "host": HOST, "port": TLS, **more}


def grpc(port: int, **more: Any) -> dict[str, Any]:
    return {"kind": "grpc", "host": HOST, "port": port, "tls": False, **more}


def dns(**more: Any) -> dict[str, Any]:
    return {"kind": "dns", "name": "db", "resolver": "127.0.0.11", **more}


def ping(host: str = "db", **more: Any) -> dict[str, Any]:
    return {"kind": "ping", "host": host, **more}


UP = (
    tcp(BANNER, expect="+OK"),
    tcp(BANNER, send=r"PING\r\n", expect=r"+PONG\r\n"),
    tcp(TLS, tls=True),
    tcp(SMTP, starttls="smtp"),
    tls(minimum_version="1.3"),
    grpc(GRPC),
    grpc(GRPC_TLS, tls=True, service="shop.v1.Orders", headers={"x-key": "a"}),
    dns(minimum_ttl=1),
    ping(packets=5, maximum_jitter_ms=1000),
)
DOWN = (
    (tcp(BANNER, expect="-OK"), "timeout", "the answer so far is '+OK ready"),
    (tcp(BANNER, send=r"x\r\n", expect="+PONG"), "answer", r"found '+OK ready\r\n'"),
    (tcp(BANNER, tls=True), "tls", "the TLS handshake failed"),
    (tcp(BANNER, starttls="smtp"), "starttls", "the greeting was '+OK ready', expected 220"),
    (tls(server_name="other.example"), "tls", "it is for another name"),
    (tls(certificate_fail_days=30), "certificate", f"the certificate of {HOST} expires in"),
    (tls(port=1), "connect", "connection refused"),
    (grpc(SICK), "not_serving", "the status of the server is NOT_SERVING, expected SERVING"),
    (grpc(BANNER), "protocol", "HTTP"),
    (grpc(SILENT), "timeout", "no complete response"),
    (dns(minimum_ttl=604_800), "ttl", "expected at least 604800 s"),
    (dns(dnssec="required"), "dnssec", "has not verified the answers"),
    (ping(packets=2, maximum_jitter_ms=0.000_001), "jitter", "expected at most 1e-06 ms"),
    (ping(HOST, packets=3), "timeout", "no complete response"),
)


@pytest.mark.parametrize("spec", UP, ids=str)
def test_a_target_is_up(api: Api, spec: dict[str, Any]) -> None:
    path = api.add(spec=spec)
    try:
        latest = api.until_state(path, "up")["latest"]
        assert (latest["error"], latest["warning"]) == (None, None)
        secured = spec["kind"] == "tls" or spec.get("tls") or spec.get("starttls")
        assert latest["certificate_days"] == (pytest.approx(20, abs=0.2) if secured else None)
        if spec["kind"] == "ping":
            assert latest["loss_percent"] == 0
            assert latest["jitter_ms"] is not None
    finally:
        api.request("DELETE", path, 204)


@pytest.mark.parametrize(("spec", "error", "detail"), DOWN, ids=str)
def test_a_target_is_down_with_its_reason(api: Api, spec: dict[str, Any], error: str, detail: str) -> None:
    path = api.add(spec=spec, failures=1, window=1, timeout_seconds=2)
    try:
        latest = api.until_state(path, "down")["latest"]
        assert latest["error"] == error
        assert detail in latest["detail"]
    finally:
        api.request("DELETE", path, 204)


@pytest.mark.parametrize("spec", [tcp(BANNER), tls(), grpc(GRPC), dns(), ping()], ids=str)
def test_a_slow_target_is_degraded(api: Api, spec: dict[str, Any]) -> None:
    path = api.add(spec=spec, failures=1, window=1, slow_ms=0.001)
    try:
        latest = api.until_state(path, "degraded")["latest"]
        assert (latest["status"], latest["warning"]) == ("succeeded", "slow")
    finally:
        api.request("DELETE", path, 204)


def test_a_certificate_about_to_expire_degrades_a_target(api: Api) -> None:
    path = api.add(spec=tls(certificate_days=30), failures=1, window=1)
    try:
        assert api.until_state(path, "degraded")["latest"]["warning"] == "certificate"
    finally:
        api.request("DELETE", path, 204)
