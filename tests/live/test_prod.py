"""The production profile: it comes up, is reached through its proxy alone, and shows outsiders what it should."""

from __future__ import annotations

import json
import re
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.live.documents import run, shown
from tests.live.proxy_client import Front
from tests.live.stack import Stack, until

MEGABYTE = 1_000_000
LATEST = "/api/targets/{key}/latest"
NOBODY = LATEST.format(key="none")
"""An address of the application that is answered with 404, and with nothing else."""
ASK = """
import json, os, sys, urllib.request
method, path, body = sys.argv[1:]
with open(os.environ.get("API_TOKEN_FILE", os.devnull)) as file:
    headers = {"Authorization": "Bearer " + file.readline().strip(), "Content-Type": "application/json"}
request = urllib.request.Request("http://127.0.0.1:3000" + path, body.encode() or None, headers, method=method)
with urllib.request.urlopen(request) as answer:
    print(json.dumps([answer.headers["X-Cache"], answer.read().decode()]))
"""
"""One request, sent from inside a replica to itself; workers have no token and need none."""


@pytest.fixture(scope="module")
def front(prod_stack: Stack) -> Front:
    return Front(prod_stack, prod_stack.front())


@pytest.mark.image_set
def test_every_service_is_healthy(prod_stack: Stack) -> None:
    assert prod_stack.services() == prod_stack.configured() > {"proxy"}
    for service in prod_stack.checked():
        assert prod_stack.container(service)["State"]["Health"]["Status"] == "healthy", service


@pytest.mark.image_set
def test_up_has_proven_it_through_the_proxy(prod_stack: Stack, front: Front) -> None:
    for check in ("proxy", "probe", "health", "targets", "signals"):
        assert re.search(rf"^{check}\b.*\bok\b", prod_stack.said, re.MULTILINE), prod_stack.said
    assert "failed" not in prod_stack.said
    assert front.proxy.url in prod_stack.said


def test_only_the_proxy_is_published(prod_stack: Stack) -> None:
    published = {
        (service, inside, binding["HostIp"])
        for service in prod_stack.services()
        for inside, bindings in prod_stack.container(service)["NetworkSettings"]["Ports"].items()
        for binding in bindings or ()
    }
    assert published == {("proxy", port, "127.0.0.1") for port in ("8080/tcp", "8443/tcp", "8443/udp")}


def test_the_proxy_can_do_no_more_than_listen(prod_stack: Stack) -> None:
    process = prod_stack.container("proxy")["State"]["Pid"]
    status = dict(re.findall(r"^(\w+):\s+(.*)$", Path(f"/proc/{process}/status").read_text(), re.MULTILINE))
    assert status["Uid"].split() == ["65534"] * 4
    assert int(status["CapBnd"], 16) == 1 << 10, "NET_BIND_SERVICE alone, see docker-compose.security.yml"
    assert status["NoNewPrivs"] == "1"


def test_plain_http_leads_to_https(front: Front) -> None:
    answer = front.ask("/api/probes?limit=1", "POST", plain=True, host="anything.example")
    assert (answer.status, answer.headers["location"]) == (308, f"{front.proxy.url}/api/probes?limit=1")


def test_the_api_is_used_through_it(front: Front) -> None:
    body = json.dumps({"url": "http://app:3000/api/health/live"}).encode()
    assert front.ask("/api/probes", "POST", body, Content_Type="application/json").status == 401
    access = front.stack.access()["Authorization"]
    accepted = front.ask("/api/probes", "POST", body, Content_Type="application/json", Authorization=access)
    assert accepted.status == 202, accepted
    path = f"/api/probes/{json.loads(accepted.body)['id']}"
    until(lambda: json.loads(front.ask(path).body)["status"] == "succeeded", 20, "the probe to succeed")


@pytest.mark.parametrize("url", ["http://db:5432/", "http://rabbitmq:15672/", "http://app:3001/"])
def test_a_target_is_no_way_inside(front: Front, url: str) -> None:
    accepted = front.ask("/api/probes", "POST", json.dumps({"url": url}).encode(), Content_Type="application/json",
                         Authorization=front.stack.access()["Authorization"])  # fmt: skip
    assert accepted.status == 202, accepted
    path = f"/api/probes/{json.loads(accepted.body)['id']}"
    until(lambda: json.loads(front.ask(path).body)["status"] == "failed", 20, "the probe to fail")
    assert json.loads(front.ask(path).body)["error"] == "refused_address"


def test_a_private_address_is_refused_at_once(front: Front) -> None:
    answer = front.ask("/api/probes", "POST", b'{"url": "http://169.254.169.254/"}', Content_Type="application/json",
                       Authorization=front.stack.access()["Authorization"])  # fmt: skip
    assert answer.status == 422, answer
    assert "ALLOW_PRIVATE_TARGETS" in str(answer.body)


def test_http_2_and_3(front: Front) -> None:
    assert front.proxy.negotiated(5) == "h2"
    assert front.over_http3("/healthz") == 200
    assert front.ask("/healthz").headers["alt-svc"] == f'h3=":{front.proxy.encrypted}"; ma=86400'


@pytest.mark.parametrize("path", ["/api/targets/none/latest", "/api/metrics", "/grafana/"])
def test_headers_of_every_answer(front: Front, path: str) -> None:
    headers = front.ask(path).headers
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
def test_what_is_for_the_inside_is_not_there(front: Front, path: str) -> None:
    answer = front.ask(path)
    assert (answer.status, answer.body) == (404, "404 Not Found"), answer
    assert front.ask(path, "POST", b"{}").status == 404


@pytest.mark.parametrize("plain", [False, True])
def test_health_for_load_balancers_tells_no_details(front: Front, plain: bool) -> None:
    answer = front.ask("/healthz", plain=plain, host="192.0.2.1" if plain else None)
    assert (answer.status, answer.body) == (200, "ready")


def test_prometheus_sees_it_answer_and_when_its_certificate_ends(prod_stack: Stack) -> None:
    query = '{service="proxy",__name__=~"probe_success|probe_ssl_earliest_cert_expiry"}'
    address = f"http://127.0.0.1:9090/api/v1/query?query={quote(query)}"
    answer = prod_stack.compose("exec", "--no-TTY", "prometheus", "wget", "-q", "-O", "-", address)
    found = {each["metric"]["__name__"]: float(each["value"][1]) for each in json.loads(answer)["data"]["result"]}
    assert found["probe_success"] == 1
    assert found["probe_ssl_earliest_cert_expiry"] > time.time()


def test_another_name_is_refused(front: Front) -> None:
    assert front.ask("/", host="other.example").status == 421
    with pytest.raises(ssl.SSLError):
        replace(front.proxy, domain="other.example").negotiated(5)


def test_large_requests_are_refused(front: Front) -> None:
    assert front.ask("/api/probes", "POST", b"x" * 10 * MEGABYTE).status == 413
    assert front.ask("/api/probes", Cookie="x" * 40_000).status == 431


def test_access_log_is_json_and_holds_no_secret(front: Front) -> None:
    secret = "s3cret-0f-a-client"
    front.ask(f"/api/targets/logged/latest?token={secret}", Authorization=f"Bearer {secret}", Cookie=f"id={secret}",
              X_Api_Key=secret, User_Agent="live test")  # fmt: skip
    front.ask(f"/grafana/logged?auth_token={secret}", Authorization=f"Bearer {secret}")  # an error is logged as well

    def written() -> list[object]:
        return [line for line in front.logged() if line.get("request", {}).get("uri") == "/api/targets/logged/latest"]

    line = until(written, 5, "the access log")[0]
    assert isinstance(line, dict)
    assert {"timestamp", "level", "message", "status", "duration"} <= line.keys()
    assert (line["status"], line["request"]["method"], line["user_agent"]) == (404, "GET", "live test")
    until(lambda: "/grafana/logged" in front.said(), 5, "the log of the second request")
    assert secret not in front.said()


@pytest.mark.image_set
def test_grafana_is_behind_it_or_a_plain_answer(front: Front) -> None:
    assert front.ask("/grafana").headers["location"] == "/grafana/"
    answer = front.ask("/grafana/login")
    if "grafana" in front.stack.configured():
        assert answer.status == 200, answer
        return
    assert "grafana" in front.stack.absent()
    assert (answer.status, answer.body) == (502, "502 Bad Gateway") or (answer.status == 503), answer
    assert answer.headers["retry-after"] == "5"


def test_addresses_of_clients_are_not_believed(front: Front) -> None:
    front.ask("/api/targets/spoofed/latest", X_Forwarded_For="203.0.113.9")
    lines = until(lambda: [each for each in front.logged() if "spoofed" in str(each)], 5, "the access log")
    assert "203.0.113.9" not in json.dumps(lines)


def test_the_configuration_is_read_again_without_a_restart(front: Front) -> None:
    before = front.stack.container("proxy")["State"]["StartedAt"]
    front.stack.compose("exec", "--no-TTY", "proxy", "caddy", "reload", "--config", "/etc/caddy/Caddyfile",
                        "--address", "unix//run/caddy/admin.sock", "--force")  # fmt: skip
    assert front.ask("/healthz").status == 200
    assert front.stack.container("proxy")["State"]["StartedAt"] == before


def test_requests_wait_while_the_application_is_replaced(front: Front) -> None:
    """Its only replica is stopped and started again, under requests."""
    with users(front) as answers:
        front.stack.docker("restart", *front.stack.containers("app"))
        front.stack.invoke("wait")
        until(lambda: front.ask("/healthz").status == 200, 10, "the application to be ready")
    assert answers.keys() == {404}, answers


@contextmanager
def users(front: Front) -> Iterator[Counter[int]]:
    """Four clients that read all the time; how often each status was answered is known when the block ends."""
    answers: Counter[int] = Counter()
    over = threading.Event()

    def use() -> None:
        while not over.is_set():
            answers[front.ask(NOBODY).status] += 1

    clients = [threading.Thread(target=use) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        yield answers
    finally:
        over.set()
        for client in clients:
            client.join()


def test_the_token_is_replaced_by_hand(front: Front) -> None:
    """With the commands of the documents: both tokens are accepted until the old one is taken out of the file."""
    page, stack = "docs/operations.md", front.stack
    add, take = shown(stack, page, "sh", "secrets/api_token.txt").split("# … when the clients have the new one:\n")

    def accepted(token: str) -> bool:
        return front.ask("/api/access", Authorization=f"Bearer {token}").status == 204

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
    """Two replicas of the application and four workers, as the documents have them started, and as they go again."""
    run(prod_stack, shown(prod_stack, "docs/operations.md", "sh", "--scale"))
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


def test_every_replica_takes_its_share(front: Front, scaled: Stack) -> None:
    answered, probed = f'http_requests_total{{method="GET",route="{LATEST}",status="404"}}', "netmon_probes_total"
    replicas = [(each, answered) for each in scaled.containers("app")]
    replicas += [(each, probed) for each in scaled.containers("worker")]
    before = [counted(scaled, *each) for each in replicas]
    access, body = scaled.access()["Authorization"], json.dumps({"url": "http://app:3000/api/health/live"}).encode()
    for _ in range(20):
        assert front.ask(NOBODY).status == 404
        accepted = front.ask("/api/probes", "POST", body, Content_Type="application/json", Authorization=access)
        assert accepted.status == 202, accepted

    def shares() -> list[float] | None:
        now = [counted(scaled, *each) - was for each, was in zip(replicas, before, strict=True)]
        return now if min(now) > 0 and sum(now[2:]) >= 20 else None

    until(shares, 20, "both replicas and all workers to have worked, and every probe to be carried out")


def counted(stack: Stack, container: str, series: str) -> float:
    """The sum of the series of a replica whose name or beginning this is, by its own metrics."""
    page = from_inside(stack, container, "GET", "/api/metrics")[1]
    return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith(series))


def test_what_one_replica_writes_the_other_reads(scaled: Stack) -> None:
    """Whether it reads from the cache, which they share, or from the database."""
    one, other = scaled.containers("app")
    name = f"shared {uuid4()}"
    target = {"name": name, "spec": {"kind": "tcp", "host": "app", "port": 3000}, "enabled": False}
    path = f"/api/targets/{json.loads(from_inside(scaled, one, 'POST', '/api/targets', target)[1])['id']}"
    try:
        for retries, (writer, reader) in enumerate(((one, other), (other, one)), 1):
            places = (path, "/api/targets")
            for place in places:
                from_inside(scaled, reader, "GET", place)  # the cache has it as it was
            from_inside(scaled, writer, "PATCH", path, {"retries": retries})
            for place in places:
                read = [from_inside(scaled, reader, "GET", place) for _ in range(2)]
                assert all(f'"retries":{retries}' in answer for _, answer in read), (place, read)
                assert read[1][0] == "hit", (place, read)
    finally:
        from_inside(scaled, one, "DELETE", path)
    assert name not in from_inside(scaled, other, "GET", "/api/targets")[1]


def from_inside(stack: Stack, container: str, method: str, path: str, body: object = None) -> tuple[str | None, str]:
    """What this replica and no other answers, and where it says that it has it from."""
    written = stack.docker("exec", container, "python", "-c", ASK, method, path, json.dumps(body) if body else "")
    cache, answer = json.loads(written)
    return cache, answer


def test_a_replica_that_is_killed_is_not_missed(front: Front, scaled: Stack) -> None:
    killed, left = scaled.containers("app")
    with users(front) as answers:
        scaled.docker("kill", killed)
        time.sleep(3)
        assert front.ask("/healthz").status == 200
    assert answers.keys() == {404}, answers
    assert json.loads(from_inside(scaled, left, "GET", "/api/health")[1])["status"] == "healthy"
    scaled.docker("start", killed)
    scaled.invoke("wait")
