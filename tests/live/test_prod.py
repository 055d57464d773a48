"""The production profile: start, access through the proxy only, and responses to external clients."""

from __future__ import annotations

import json
import re
import ssl
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.live.documents import code_block, run
from tests.live.proxy_client import ProxyClient
from tests.live.stack import Stack, until

MEGABYTE = 1_000_000
LATEST = "/api/targets/{key}/latest"
UNKNOWN = LATEST.format(key="none")
"""A path of the application that always returns 404."""
REQUEST = """
import json, os, sys, urllib.request
method, path, body = sys.argv[1:]
with open(os.environ.get("API_TOKEN_FILE", os.devnull)) as file:
    headers = {"Authorization": "Bearer " + file.readline().strip(), "Content-Type": "application/json"}
request = urllib.request.Request("http://127.0.0.1:3000" + path, body.encode() or None, headers, method=method)
with urllib.request.urlopen(request) as answer:
    print(json.dumps([answer.headers["X-Cache"], answer.read().decode()]))
"""
"""A request of a replica to itself; workers have no token and need none."""


@pytest.fixture(scope="module")
def client(prod_stack: Stack) -> ProxyClient:
    return ProxyClient(prod_stack, prod_stack.proxy())


@pytest.mark.image_set
def test_every_service_is_healthy(prod_stack: Stack) -> None:
    assert prod_stack.services() == prod_stack.configured() > {"proxy"}
    for service in prod_stack.with_healthcheck():
        assert prod_stack.container(service)["State"]["Health"]["Status"] == "healthy", service


@pytest.mark.image_set
def test_up_runs_the_smoke_checks_through_the_proxy(prod_stack: Stack, client: ProxyClient) -> None:
    for check in ("proxy", "probe", "health", "targets", "signals"):
        assert re.search(rf"^{check}\b.*\bok\b", prod_stack.up_output, re.MULTILINE), prod_stack.up_output
    assert "failed" not in prod_stack.up_output
    assert client.proxy.url in prod_stack.up_output


def test_only_the_proxy_is_published(prod_stack: Stack) -> None:
    published = {
        (service, inside, binding["HostIp"])
        for service in prod_stack.services()
        for inside, bindings in prod_stack.container(service)["NetworkSettings"]["Ports"].items()
        for binding in bindings or ()
    }
    assert published == {("proxy", port, "127.0.0.1") for port in ("8080/tcp", "8443/tcp", "8443/udp")}


def test_the_proxy_can_only_bind_low_ports(prod_stack: Stack) -> None:
    process = prod_stack.container("proxy")["State"]["Pid"]
    status = dict(re.findall(r"^(\w+):\s+(.*)$", Path(f"/proc/{process}/status").read_text(), re.MULTILINE))
    assert status["Uid"].split() == ["65534"] * 4
    assert int(status["CapBnd"], 16) == 1 << 10, "NET_BIND_SERVICE alone, see docker-compose.security.yml"
    assert status["NoNewPrivs"] == "1"


def test_plain_http_redirects_to_https(client: ProxyClient) -> None:
    answer = client.request("/api/probes?limit=1", "POST", plain=True, host="anything.example")
    assert (answer.status, answer.headers["location"]) == (308, f"{client.proxy.url}/api/probes?limit=1")


def test_the_api_works_through_the_proxy(client: ProxyClient) -> None:
    body = json.dumps({"url": "http://app:3000/api/health/live"}).encode()
    assert client.request("/api/probes", "POST", body, Content_Type="application/json").status == 401
    access = client.stack.authorization()["Authorization"]
    accepted = client.request("/api/probes", "POST", body, Content_Type="application/json", Authorization=access)
    assert accepted.status == 202, accepted
    path = f"/api/probes/{json.loads(accepted.body)['id']}"
    until(lambda: json.loads(client.request(path).body)["status"] == "succeeded", 20, "the probe to succeed")


@pytest.mark.parametrize("url", ["http://db:5432/", "http://rabbitmq:15672/", "http://app:3001/"])
def test_probes_of_internal_addresses_fail(client: ProxyClient, url: str) -> None:
    accepted = client.request("/api/probes", "POST", json.dumps({"url": url}).encode(), Content_Type="application/json",
                              Authorization=client.stack.authorization()["Authorization"])  # fmt: skip
    assert accepted.status == 202, accepted
    path = f"/api/probes/{json.loads(accepted.body)['id']}"
    until(lambda: json.loads(client.request(path).body)["status"] == "failed", 20, "the probe to fail")
    assert json.loads(client.request(path).body)["error"] == "refused_address"


def test_a_private_address_is_rejected_by_the_api(client: ProxyClient) -> None:
    body = b'{"url": "http://169.254.169.254/"}'
    answer = client.request("/api/probes", "POST", body, Content_Type="application/json",
                            Authorization=client.stack.authorization()["Authorization"])  # fmt: skip
    assert answer.status == 422, answer
    assert "ALLOW_PRIVATE_TARGETS" in str(answer.body)


def test_http_2_and_3_are_served(client: ProxyClient) -> None:
    assert client.proxy.negotiated_protocol(5) == "h2"
    assert client.over_http3("/healthz") == 200
    assert client.request("/healthz").headers["alt-svc"] == f'h3=":{client.proxy.https_port}"; ma=86400'


@pytest.mark.parametrize("path", ["/api/targets/none/latest", "/api/metrics", "/grafana/"])
def test_every_response_has_the_security_headers(client: ProxyClient, path: str) -> None:
    headers = client.request(path).headers
    assert headers["strict-transport-security"] == "max-age=31536000"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert not {"server", "via", "x-powered-by"} & headers.keys()


@pytest.mark.parametrize("path", [
    "/api/metrics", "/api/metrics/", "/api/alerts", "/api/health", "/api/health/live", "/api/health/ready",
    "/API/Metrics", "//api/metrics", "/api//metrics", "/api/./metrics", "/x/../api/metrics", "/api/%6detrics",
    "/api%2fmetrics", "/api/metrics?x=1", "/api/metrics%2f", "/./api/health", "/grafana/metrics", "/grafana//metrics",
    "/grafana/../api/metrics", "/grafana/%2e%2e/api/metrics",
])  # fmt: skip
def test_internal_paths_are_not_found(client: ProxyClient, path: str) -> None:
    answer = client.request(path)
    assert (answer.status, answer.body) == (404, "404 Not Found"), answer
    assert client.request(path, "POST", b"{}").status == 404


@pytest.mark.parametrize("plain", [False, True])
def test_health_for_load_balancers_has_no_details(client: ProxyClient, plain: bool) -> None:
    answer = client.request("/healthz", plain=plain, host="192.0.2.1" if plain else None)
    assert (answer.status, answer.body) == (200, "ready")


def test_prometheus_probes_the_proxy_and_its_certificate(prod_stack: Stack) -> None:
    query = '{service="proxy",__name__=~"probe_success|probe_ssl_earliest_cert_expiry"}'
    address = f"http://127.0.0.1:9090/api/v1/query?query={quote(query)}"
    answer = prod_stack.exec("prometheus", "wget", "-q", "-O", "-", address)
    found = {each["metric"]["__name__"]: float(each["value"][1]) for each in json.loads(answer)["data"]["result"]}
    assert found["probe_success"] == 1
    assert found["probe_ssl_earliest_cert_expiry"] > time.time()


def test_another_host_name_is_refused(client: ProxyClient) -> None:
    assert client.request("/", host="other.example").status == 421
    with pytest.raises(ssl.SSLError):
        replace(client.proxy, domain="other.example").negotiated_protocol(5)


def test_large_requests_are_refused(client: ProxyClient) -> None:
    assert client.request("/api/probes", "POST", b"x" * 10 * MEGABYTE).status == 413
    assert client.request("/api/probes", Cookie="x" * 40_000).status == 431


def test_access_log_is_json_and_holds_no_secret(client: ProxyClient) -> None:
    secret = "s3cret-0f-a-client"
    path = f"/api/targets/logged/latest?token={secret}"
    client.request(
        path, Authorization=f"Bearer {secret}", Cookie=f"id={secret}", X_Api_Key=secret, User_Agent="live test"
    )
    client.request(f"/grafana/logged?auth_token={secret}", Authorization=f"Bearer {secret}")  # errors are logged too

    def records() -> list[object]:
        return [
            line for line in client.log_records() if line.get("request", {}).get("uri") == "/api/targets/logged/latest"
        ]

    line = until(records, 5, "the access log")[0]
    assert isinstance(line, dict)
    assert {"timestamp", "level", "message", "status", "duration"} <= line.keys()
    assert (line["status"], line["request"]["method"], line["user_agent"]) == (404, "GET", "live test")
    until(lambda: "/grafana/logged" in client.log_text(), 5, "the log of the second request")
    # The tokens of heartbeat URLs, of mistyped ones too.
    for url in (f"/api/heartbeats/{secret}/fail?a=b", f"/API/Heartbeats/{secret}", f"/api/heartbeat/hb_{secret}?a"):
        client.request(url)
    masked = ('"/api/heartbeats/"', '"/API/Heartbeats/"', '"/api/heartbeat/hb_"')
    until(lambda: all(path in client.log_text() for path in masked), 5, "the masked paths in the access log")
    assert secret not in client.log_text()


@pytest.mark.image_set
def test_grafana_is_served_or_a_gateway_error(client: ProxyClient) -> None:
    assert client.request("/grafana").headers["location"] == "/grafana/"
    answer = client.request("/grafana/login")
    if "grafana" in client.stack.configured():
        assert answer.status == 200, answer
        return
    assert "grafana" in client.stack.unavailable()
    assert (answer.status, answer.body) == (502, "502 Bad Gateway") or (answer.status == 503), answer
    assert answer.headers["retry-after"] == "5"


def test_forwarded_addresses_of_clients_are_ignored(client: ProxyClient) -> None:
    client.request("/api/targets/spoofed/latest", X_Forwarded_For="203.0.113.9")
    lines = until(lambda: [each for each in client.log_records() if "spoofed" in str(each)], 5, "the access log")
    assert "203.0.113.9" not in json.dumps(lines)


def test_the_configuration_is_reloaded_without_a_restart(client: ProxyClient) -> None:
    before = client.stack.container("proxy")["State"]["StartedAt"]
    client.stack.compose("exec", "--no-TTY", "proxy", "caddy", "reload", "--config", "/etc/caddy/Caddyfile",
                        "--address", "unix//run/caddy/admin.sock", "--force")  # fmt: skip
    assert client.request("/healthz").status == 200
    assert client.stack.container("proxy")["State"]["StartedAt"] == before


@contextmanager
def access_rules(client: ProxyClient, text: str) -> Iterator[None]:
    """A file of access rules, which the proxy has loaded."""
    path = client.stack.root / "config" / "caddy" / "access" / "login.caddy"

    def load() -> None:
        client.stack.compose("exec", "--no-TTY", "proxy", "caddy", "reload", "--config", "/etc/caddy/Caddyfile",
                             "--address", "unix//run/caddy/admin.sock")  # fmt: skip

    path.write_text(text)
    path.chmod(0o644)
    try:
        load()
        yield
    finally:
        path.unlink()
        load()


def test_the_documented_login_is_required_of_all_but_clients_with_the_token(client: ProxyClient) -> None:
    hashing = ("exec", "--no-TTY", "proxy", "caddy", "hash-password", "--plaintext", "correct horse")
    block = code_block(client.stack, "docs/deployment.md", "caddy", "forward_auth")
    right, wrong = (b64encode(f"alice:{word}".encode()).decode() for word in ("correct horse", "battery staple"))
    token = client.stack.authorization()["Authorization"]
    with access_rules(client, block.replace("HASH", client.stack.compose(*hashing).strip())):
        for path in (
            "/",
            "/api/targets",
            "/grafana/",
            "/api/heartbeats/../targets",
            "/status/../",
            "/static/../api/targets",
        ):
            answers = [client.request(path, Authorization=f"Basic {each}").status for each in (right, wrong)]
            assert client.request(path).status == 401, path
            assert answers[0] != 401, path
            assert answers[1] == 401, path
        assert client.request("/api/targets", Authorization=token).status == 200
        assert client.request("/api/targets", Authorization="Bearer guessed").status == 401
        assert client.request("/grafana/", Authorization=token).status == 401
        assert [client.request(path).status for path in ("/status", "/api/status")] == [200, 200]
        assert client.request("/healthz").status == 200
        assert client.request("/api/heartbeats/hb_unknown", "POST", b"").status == 404
        client.stack.invoke("smoke")
    assert client.request("/api/targets").status == 200


def test_requests_wait_during_a_restart_of_the_application(client: ProxyClient) -> None:
    """The only replica is restarted under load."""
    with clients(client) as statuses:
        client.stack.docker("restart", *client.stack.containers("app"))
        client.stack.invoke("wait")
        until(lambda: client.request("/healthz").status == 200, 10, "the application to be ready")
    assert statuses.keys() == {404}, statuses


def test_a_client_that_exceeds_its_rate_is_refused(client: ProxyClient) -> None:
    """By the address that the proxy sees: a header of the client changes nothing, and the health check has no limit."""
    replace_application = ("docker", "compose", "up", "--detach", "--no-deps", "--wait", "app")
    client.stack.run(*replace_application, env={"CLIENT_REQUESTS_PER_SECOND": "0.5"})
    try:
        statuses = [client.request(UNKNOWN).status for _ in range(5)]
        assert statuses == [404] * 5
        forged = [client.request(UNKNOWN, X_Forwarded_For=f"192.0.2.{number}") for number in range(5)]
        assert {answer.status for answer in forged} == {429}
        assert int(forged[0].headers["retry-after"]) in (1, 2)
        assert client.request("/healthz").status == 200
    finally:
        client.stack.run(*replace_application)


@contextmanager
def clients(client: ProxyClient) -> Iterator[Counter[int]]:
    """Four clients that read continuously; yields the number of responses by status, complete after the block."""
    statuses: Counter[int] = Counter()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            statuses[client.request(UNKNOWN).status] += 1

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_the_token_is_rotated_manually(client: ProxyClient) -> None:
    """With the documented commands: both tokens are accepted until the old one is removed from the file."""
    page, stack = "docs/operations.md", client.stack
    add, take = code_block(stack, page, "sh", "secrets.token_hex").split("# … when the clients have the new one:\n")

    def accepted(token: str) -> bool:
        return client.request("/api/access", Authorization=f"Bearer {token}").status == 204

    run(stack, add)
    old, new = (stack.root / "secrets/api_token.txt").read_text().split()
    assert accepted(old)
    assert accepted(new)
    checked = stack.invoke("secrets.check", check=False).stdout
    assert re.search(r"^warning +api_token\b.*\b1 more\b", checked, re.MULTILINE), checked
    run(stack, take)
    assert not accepted(old)
    assert accepted(new)


@pytest.fixture(scope="module")
def scaled(prod_stack: Stack) -> Iterator[Stack]:
    """Two replicas of the application and four workers, started with the documented commands and removed afterwards."""
    run(prod_stack, code_block(prod_stack, "docs/operations.md", "sh", "--scale"))
    prod_stack.invoke("wait")
    assert states(prod_stack, "app") == ["healthy"] * 2
    assert states(prod_stack, "worker") == ["healthy"] * 4
    yield prod_stack
    prod_stack.compose("up", "--detach", "--wait")
    assert [states(prod_stack, service) for service in ("app", "worker")] == [["healthy"]] * 2


def states(stack: Stack, service: str) -> list[str]:
    """The health of each replica of a service."""
    inspected = json.loads(stack.docker("inspect", *stack.containers(service)))
    return [each["State"]["Health"]["Status"] for each in inspected]


def test_every_replica_receives_work(client: ProxyClient, scaled: Stack) -> None:
    answered, probed = f'http_requests_total{{method="GET",route="{LATEST}",status="404"}}', "netmon_probes_total"
    replicas = [(each, answered) for each in scaled.containers("app")]
    replicas += [(each, probed) for each in scaled.containers("worker")]
    before = [metric_sum(scaled, *each) for each in replicas]
    access, body = (
        scaled.authorization()["Authorization"],
        json.dumps({"url": "http://app:3000/api/health/live"}).encode(),
    )
    for _ in range(20):
        assert client.request(UNKNOWN).status == 404
        accepted = client.request("/api/probes", "POST", body, Content_Type="application/json", Authorization=access)
        assert accepted.status == 202, accepted

    def shares() -> list[float] | None:
        added = [metric_sum(scaled, *each) - old for each, old in zip(replicas, before, strict=True)]
        return added if min(added) > 0 and sum(added[2:]) >= 20 else None

    until(shares, 20, "requests at every replica, and a result of every probe")


def metric_sum(stack: Stack, container: str, series: str) -> float:
    """The sum of a replica's series with this name or prefix."""
    page = from_inside(stack, container, "GET", "/api/metrics")[1]
    return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith(series))


def test_replicas_read_writes_of_each_other(scaled: Stack) -> None:
    """From the shared cache and from the database."""
    one, other = scaled.containers("app")
    name = f"shared {uuid4()}"
    target = {"name": name, "spec": {"kind": "tcp", "host": "app", "port": 3000}, "enabled": False}
    path = f"/api/targets/{json.loads(from_inside(scaled, one, 'POST', '/api/targets', target)[1])['id']}"
    try:
        for retries, (writer, reader) in enumerate(((one, other), (other, one)), 1):
            places = (path, "/api/targets")
            for place in places:
                from_inside(scaled, reader, "GET", place)  # fills the cache with the old value
            from_inside(scaled, writer, "PATCH", path, {"retries": retries})
            for place in places:
                read = [from_inside(scaled, reader, "GET", place) for _ in range(2)]
                assert all(f'"retries":{retries}' in answer for _, answer in read), (place, read)
                assert read[1][0] == "hit", (place, read)
    finally:
        from_inside(scaled, one, "DELETE", path)
    assert name not in from_inside(scaled, other, "GET", "/api/targets")[1]


def from_inside(stack: Stack, container: str, method: str, path: str, body: object = None) -> tuple[str | None, str]:
    """The response of one replica to a request from its own container: X-Cache and body."""
    output = stack.docker("exec", container, "python", "-c", REQUEST, method, path, json.dumps(body) if body else "")
    cache, content = json.loads(output)
    return cache, content


def test_a_killed_replica_causes_no_failed_request(client: ProxyClient, scaled: Stack) -> None:
    killed, left = scaled.containers("app")
    with clients(client) as statuses:
        scaled.docker("kill", killed)
        time.sleep(3)
        assert client.request("/healthz").status == 200
    assert statuses.keys() == {404}, statuses
    assert json.loads(from_inside(scaled, left, "GET", "/api/health")[1])["status"] == "healthy"
    scaled.docker("start", killed)
    scaled.invoke("wait")
