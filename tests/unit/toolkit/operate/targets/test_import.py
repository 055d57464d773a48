"""Imports from other monitors: what is carried over is valid, everything else is listed."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from netmon.conditions import StatusRange
from netmon.models import TargetSettings
from tests.unit.app.properties import PROPERTY
from toolkit.core.errors import ToolkitError
from toolkit.operate.targets import export, targetfile
from toolkit.operate.targets.importing import checks, gatus, imported, run, uptime_kuma
from toolkit.operate.targets.importing.imported import Imported

GATUS = """\
alerting: {slack: {webhook-url: "https://hooks.example/hidden"}}
external-endpoints: [{name: pushed}]
x-common: &common
  interval: 1m30s
  client: {timeout: 5s}
endpoints:
  - <<: *common
    name: front
    group: core services
    url: https://shop.example/health
    method: HEAD
    headers: {Authorization: Bearer hidden, X-Trace: "1"}
    conditions: ["[STATUS] == any(200, 204)", "[RESPONSE_TIME] < 300", "[CERTIFICATE_EXPIRATION] > 49h"]
    alerts: [{type: slack, failure-threshold: 5, send-on-resolved: true}]
  - name: page
    url: https://user:hidden@shop.example/?q=1
    enabled: false
    conditions: ["[STATUS] < 400", "[BODY] == pat(*welcome*)", "len([BODY].items) > 0", "[BODY] == pat(a?b)"]
  - name: mail
    url: tcp://mail.example:25
    conditions: ["[CONNECTED] == true"]
  - name: router
    url: icmp://192.0.2.1
    interval: 1s
    conditions: ["[CONNECTED] == true"]
  - name: dns
    url: 8.8.8.8
    dns: {query-name: example.org., query-type: A}
    conditions: ["[BODY] == 93.184.216.34", "[DNS_RCODE] == NOERROR"]
  - {name: posted, url: "https://a.example/", body: x, headers: {Cookie: hidden}}
  - {name: shell, url: "ssh://a.example", ssh: {username: a}}
  - {name: websocket, url: "wss://a.example/"}
  - {name: secure, url: "starttls://a.example:25", conditions: ["[CERTIFICATE_EXPIRATION] > 48h"]}
  - name: certificate
    url: tls://a.example:443
    conditions: ["[CERTIFICATE_EXPIRATION] > 720h", "[CONNECTED] == true"]
  - name: cache
    url: tcp://cache.example:6379
    body: "PING\\r\\n"
    conditions: ["[BODY] == pat(*PONG*)"]
  - {name: secret cache, url: "tls://cache.example:6380", body: 'a\\b', conditions: ["[BODY] == c"]}
  - {name: orders, url: "grpc://orders.example:50051", conditions: ["[BODY].status == SERVING"]}
  - {name: public orders, url: "grpcs://orders.example:443", conditions: ["[CERTIFICATE_EXPIRATION] > 48h"]}
  - {name: proxied, url: "https://a.example/", client: {proxy-url: "http://b:3128", ignore-redirect: true}}
  - {name: login, url: "https://a.example/", client: {proxy-url: "http://a:hidden@b"}, headers: {Cookie: hidden}}
  - {name: socks, url: "https://a.example/", client: {proxy-url: "socks5://b"}}
  - {name: front, group: core services, url: "https://b.example/", ui: {hide-url: true}, client: {insecure: true}}
  - {name: odd, url: "tcp://a.example", interval: often}
"""


def valid(found: Imported) -> dict[str, dict[str, Any]]:
    """The imported targets by name; each is valid in a file and for the application."""
    file = targetfile.parse("targets.yml", export.dump({"targets": found.targets}).encode())
    for target in file.targets:
        TargetSettings.model_validate(target)
    return {target["name"]: target for target in file.targets}


def losses(found: Imported, target: str) -> list[str]:
    return [each.what for each in found.losses if each.target == target]


def test_endpoints_of_gatus_are_carried_over() -> None:
    found = gatus.read(GATUS.encode())
    targets = valid(found)
    assert list(targets) == [
        "core services/front", "page", "mail", "router", "dns", "secure", "certificate", "cache", "secret cache",
        "orders", "public orders", "proxied", "core services/front (2)",
    ]  # fmt: skip
    assert targets["proxied"]["spec"] == {
        "kind": "http", "url": "https://a.example/", "follow_redirects": False, "proxy": "http://b:3128"
    }  # fmt: skip
    assert targets["core services/front"] == {
        "name": "core services/front",
        "spec": {
            "kind": "http", "url": "https://shop.example/health", "method": "HEAD", "expected_status": [200, 204],
            "headers": {"Authorization": "secret:core-services-front-authorization", "X-Trace": "1"},
            "certificate_days": 3,
        },
        "interval_seconds": 90, "timeout_seconds": 5.0, "slow_ms": 300.0, "failures": 5, "window": 5,
        "tags": ["core-services"],
    }  # fmt: skip
    assert targets["page"]["spec"] == {
        "kind": "http", "url": "https://shop.example/?q=1", "body_contains": "welcome",
        "username": "user", "password": "secret:page-password", "body_matches": "(?s)^a.b$",
    }  # fmt: skip
    assert targets["core services/front (2)"]["spec"]["verify_tls"] is False
    assert targets["page"]["enabled"] is False
    assert targets["mail"]["spec"] == {"kind": "tcp", "host": "mail.example", "port": 25}
    assert targets["router"] == {
        "name": "router", "spec": {"kind": "ping", "host": "192.0.2.1"}, "interval_seconds": 5
    }  # fmt: skip
    assert targets["dns"]["spec"] == {
        "kind": "dns", "name": "example.org", "record": "A", "expected": ["93.184.216.34"],
        "resolver": "8.8.8.8",
    }  # fmt: skip


def test_services_of_gatus_are_carried_over() -> None:
    found = gatus.read(GATUS.encode())
    specs = {name: target["spec"] for name, target in valid(found).items()}
    assert specs["secure"] == {
        "kind": "tcp", "host": "a.example", "port": 25, "starttls": "smtp", "certificate_fail_days": 2
    }  # fmt: skip
    assert specs["certificate"] == {"kind": "tls", "host": "a.example", "port": 443, "certificate_fail_days": 30}
    assert specs["cache"] == {
        "kind": "tcp", "host": "cache.example", "port": 6379, "send": r"PING\r\n", "expect": "PONG"
    }  # fmt: skip
    assert specs["secret cache"] == {
        "kind": "tcp", "host": "cache.example", "port": 6380, "tls": True, "send": r"a\\b",
        "expect_matches": r"^\s*c\s*$",
    }  # fmt: skip
    assert specs["orders"] == {"kind": "grpc", "host": "orders.example", "port": 50051, "tls": False}
    assert specs["public orders"] == {
        "kind": "grpc", "host": "orders.example", "port": 443, "tls": True, "certificate_fail_days": 2
    }  # fmt: skip
    for name in ("secure", "certificate", "cache", "secret cache", "orders"):
        assert losses(found, name) == []


def test_what_gatus_has_and_cannot_be_carried_over_is_listed() -> None:
    found = gatus.read(GATUS.encode())
    assert losses(found, "") == ["external-endpoints", "alerting"]
    assert losses(found, "core services/front") == [
        "[RESPONSE_TIME] < 300", "[CERTIFICATE_EXPIRATION] > 49h", "alerts.send-on-resolved",
    ]  # fmt: skip
    assert losses(found, "page") == ["query of the URL", "len([BODY].items) > 0"]
    assert losses(found, "router") == ["interval of 1 s"]
    assert losses(found, "dns") == losses(found, "proxied") == []
    assert losses(found, "core services/front (2)") == ["name 'core services/front'", "ui"]
    skipped = {each.target: each.why for each in found.losses if each.what == "the endpoint"}
    assert skipped == {
        "posted": "a GET request with a body is not supported",
        "shell": "SSH is not supported",
        "websocket": "wss: only http, https, tcp, tls, starttls, grpc, grpcs, icmp and dns are supported",
        "login": "a proxy with a login is not supported",
        "socks": "only proxies of the form http://host:port are supported",
        "odd": "tcp://a.example has no host and port",
    }
    assert [each.name for each in found.secrets] == [
        "core-services-front-authorization", "page-password",
    ]  # fmt: skip
    assert "hidden" not in export.dump({"targets": found.targets}) + "".join(run.report(found))


CONDITIONS: tuple[tuple[list[str], dict[str, Any]], ...] = (
    (["[STATUS] == 200"], {"expected_status": [200]}),
    (["[STATUS] >= 200", "[STATUS] < 300"], {"expected_status": ["2xx"]}),
    (["[STATUS] > 199", "[STATUS] <= 204", "[STATUS] != 203"], {"expected_status": ["200-202", 204]}),
    (["[STATUS] != any(500, 503)"], {"expected_status": ["100-499", "501-502", "504-599"]}),
    (["[STATUS] <= 399"], {}),
    (["[BODY].status == UP"], {"expected_json": ['$.status == "UP"']}),
    (
        ["[BODY][0].my-name != null", "[BODY].a[1].b >= 1.5"],
        {"expected_json": ['$[0]["my-name"] != null', "$.a[1].b >= 1.5"]},
    ),
    (["has([BODY].errors) == true"], {"expected_json": ["$.errors"]}),
    (["[BODY] == pat(*up*)", "[BODY] != pat(*down*)"], {"body_contains": "up", "body_excludes": "down"}),
    (["[BODY] == a.b"], {"body_matches": r"^\s*a\.b\s*$"}),
    (["[BODY] == a b-c/ä&"], {"body_matches": r"^\s*a\ b\-c/ä\&\s*$"}),
    (["[BODY] == pat(a*b?)"], {"body_matches": "(?s)^a.*b.$"}),
    (["[CERTIFICATE_EXPIRATION] > 48h"], {"certificate_days": 2}),
)


@pytest.mark.parametrize(("conditions", "settings"), CONDITIONS, ids=str)
def test_conditions_of_gatus_are_carried_over(conditions: list[str], settings: dict[str, Any]) -> None:
    endpoint = {"name": "a", "url": "https://a.example/", "conditions": conditions}
    found = gatus.read(export.dump({"endpoints": [endpoint]}).encode())
    assert valid(found)["a"]["spec"] == {"kind": "http", "url": "https://a.example/", **settings}
    assert [loss for loss in found.losses if loss.what != "[CERTIFICATE_EXPIRATION] > 48h"] == []


@pytest.mark.parametrize(
    "condition",
    [
        "[STATUS] == pat(2*)", "[BODY].a == any(1, 2)", "[BODY].a == pat(*x*)", "len([BODY].a) == 1", "[BODY].a < b",
        "has([BODY].a) == false", "[BODY] != text", "[BODY] == pat([ab])", "[BODY] < 5", "[BODY].a..b == 1",
        "[IP] == 1",
    ],
)  # fmt: skip
def test_other_conditions_of_gatus_are_listed(condition: str) -> None:
    endpoint = {"name": "a", "url": "https://a.example/", "conditions": [condition]}
    found = gatus.read(export.dump({"endpoints": [endpoint]}).encode())
    assert valid(found)["a"]["spec"] == {"kind": "http", "url": "https://a.example/"}
    assert losses(found, "a") == [condition]


def test_statuses_that_exclude_each_other_are_not_carried_over() -> None:
    endpoint = {"name": "a", "url": "https://a.example/", "conditions": ["[STATUS] == 200", "[STATUS] == 204"]}
    found = gatus.read(export.dump({"endpoints": [endpoint]}).encode())
    assert found.targets == []
    assert [loss.what for loss in found.losses] == ["the endpoint"]


def test_requests_of_gatus_are_carried_over() -> None:
    client = {"insecure": True, "ignore-redirect": True, "network": "ip6", "tls": {"certificate-file": "/a"}}
    endpoints = [
        {"name": "q", "url": "https://a.example/", "method": "POST", "graphql": True, "body": "{ health }"},
        {"name": "b", "url": "https://a.example/", "method": "PATCH", "body": "text", "client": client},
        {"name": "s", "url": "https://a.example/", "method": "PUT", "body": "password=hidden"},
        {"name": "t", "url": "tcp://a.example:1", "client": {"network": "ip6"}},
    ]
    found = gatus.read(export.dump({"endpoints": endpoints}).encode())
    specs = {name: target["spec"] for name, target in valid(found).items()}
    assert specs["q"]["body"] == '{"query": "{ health }"}'
    assert specs["q"]["content_type"] == "application/json"
    assert specs["b"] == {
        "kind": "http", "url": "https://a.example/", "method": "PATCH", "body": "text", "verify_tls": False,
        "follow_redirects": False, "ip_version": 6, "client_certificate": "secret:b-certificate",
    }  # fmt: skip
    assert specs["s"]["body"] == "secret:s-body"
    assert losses(found, "t") == ["client.network"]


@PROPERTY
@given(st.sets(st.integers(100, 599)))
def test_statuses_are_written_as_ranges(accepted: set[int]) -> None:
    assume(accepted not in checks.BELOW_400)
    written = checks.statuses(accepted)
    ranges = [StatusRange.parse(each) for each in written]
    assert {status for first, last in ranges for status in range(first, last + 1)} == accepted
    assert [found.normal for found in ranges] == written


@pytest.mark.parametrize(
    ("server", "port", "resolver"),
    [
        ("192.0.2.1", 53, "192.0.2.1"),
        ("192.0.2.1", 5353, "192.0.2.1:5353"),
        ("192.0.2.1:54", 53, "192.0.2.1:54"),
        ("2001:db8::1", 53, "2001:db8::1"),
        ("2001:db8::1", 5353, "[2001:db8::1]:5353"),
        ("[2001:db8::1]:54", 53, "[2001:db8::1]:54"),
        ("dns.example", 53, None),
        ("192.0.2.1,192.0.2.2", 53, None),
        ("tls://192.0.2.1", 53, None),
    ],
)
def test_name_servers_with_one_address_are_carried_over(server: str, port: int, resolver: str | None) -> None:
    found = Imported()
    assert imported.resolver(found, "a", server, port).get("resolver") == resolver
    assert [loss.what for loss in found.losses] == ([] if resolver else [f"name server {server}"])


@pytest.mark.parametrize(
    ("text", "expected"), [("1m", 60), ("1h30m", 5400), ("1.5s", 1.5), ("250ms", 0.25), ("60s", 60)]
)
def test_durations(text: str, expected: float) -> None:
    assert gatus.seconds(text) == expected


@pytest.mark.parametrize("content", [b"", b"[]", b"endpoints: {}", b"endpoints: [a]", b"a: [", b"\xff", b"\x00"])
def test_a_file_without_endpoints_is_refused(content: bytes) -> None:
    with pytest.raises(ToolkitError, match=r"no endpoints|not valid YAML"):
        gatus.read(content)


COLUMNS = (
    "id INTEGER PRIMARY KEY, name, active DEFAULT 1, interval DEFAULT 60, url, type, hostname, port, keyword, "
    "maxretries DEFAULT 0, ignore_tls DEFAULT 0, upside_down DEFAULT 0, maxredirects DEFAULT 10, "
    "accepted_statuscodes_json DEFAULT '[\"200-299\"]', dns_resolve_type, dns_resolve_server, retry_interval DEFAULT 0,"
    " method DEFAULT 'GET', body, headers, basic_auth_user, basic_auth_pass, auth_method, proxy_id, "
    "expiry_notification DEFAULT 1, timeout DEFAULT 48, invert_keyword DEFAULT 0, parent, description, json_path, "
    "json_path_operator, expected_value, http_body_encoding, ip_family, tls_ca, "
    "grpc_url, grpc_protobuf, grpc_service_name, grpc_method, grpc_body, grpc_metadata, grpc_enable_tls DEFAULT 0, "
    "smtp_security"
)


def database(tmp_path: Path, *monitors: dict[str, Any], columns: str = COLUMNS) -> Path:
    """A database of Uptime Kuma with these monitors."""
    path = tmp_path / "kuma.db"
    with sqlite3.connect(path) as connection:
        connection.execute(f"CREATE TABLE monitor ({columns})")
        for monitor in monitors:
            names, marks = ", ".join(f'"{name}"' for name in monitor), ", ".join("?" * len(monitor))
            connection.execute(f"INSERT INTO monitor ({names}) VALUES ({marks})", list(monitor.values()))  # noqa: S608
        connection.execute("CREATE TABLE tag (id INTEGER PRIMARY KEY, name, color)")
        connection.execute("CREATE TABLE monitor_tag (id INTEGER PRIMARY KEY, monitor_id, tag_id, value)")
        connection.execute("INSERT INTO tag VALUES (1, 'env', 'red'), (2, 'a b', 'red')")
        connection.execute("INSERT INTO monitor_tag VALUES (1, 2, 1, 'prod'), (2, 2, 2, '')")
        connection.execute("CREATE TABLE proxy (id, protocol, host, port, auth, username, password, active)")
        connection.execute(
            "INSERT INTO proxy VALUES (1, 'http', '2001:db8::1', 3128, 0, NULL, NULL, 1),"
            " (2, 'http', 'off', 1, 0, NULL, NULL, 0), (3, 'http', 'b', 1, 1, 'u', 'hidden', 1),"
            " (4, 'socks5', 'b', 1, 0, NULL, NULL, 1)"
        )
        connection.execute("CREATE TABLE notification (id)")
        connection.execute("INSERT INTO notification VALUES (1), (2)")
    connection.close()
    return path


MONITORS: Sequence[dict[str, Any]] = (
    {"id": 1, "name": "Shops", "type": "group"},
    {"id": 2, "name": "Shop", "type": "http", "url": "https://shop.example/", "parent": 1, "maxretries": 2,
     "auth_method": "basic", "basic_auth_user": "u", "basic_auth_pass": "hidden", "retry_interval": 20,
     "accepted_statuscodes_json": '["200", "301-302"]', "headers": '{"X-Api-Key": "hidden", "Accept": "*/*"}'},
    {"id": 3, "name": "Page", "type": "keyword", "url": "https://a.example/", "keyword": "welcome", "active": 0,
     "expiry_notification": 0, "ignore_tls": 1},
    {"id": 4, "name": "Mail", "type": "port", "hostname": "mail.example", "port": 25, "timeout": 0},
    {"id": 5, "name": "Router", "type": "ping", "hostname": "192.0.2.1", "interval": 20},
    {"id": 6, "name": "MX", "type": "dns", "hostname": "example.org", "dns_resolve_type": "MX",
     "dns_resolve_server": "1.1.1.1"},
    {"id": 7, "name": "Shop", "type": "http", "url": "https://b.example/", "description": "about"},
    {"id": 8, "name": "Down", "type": "http", "url": "https://c.example/", "upside_down": 1, "basic_auth_user": "u"},
    {"id": 9, "name": "Push", "type": "push"},
    {"id": 10, "name": "Docker", "type": "docker"},
    {"id": 11, "name": "Inverted", "type": "keyword", "url": "https://a/", "keyword": "x", "invert_keyword": 1,
     "headers": '{"Cookie": "hidden"}'},
    {"id": 12, "name": "PTR", "type": "dns", "hostname": "example.org", "dns_resolve_type": "PTR"},
    {"id": 13, "name": "Ntlm", "type": "http", "url": "https://a/", "auth_method": "ntlm"},
    {"id": 14, "name": "Proxied", "type": "http", "url": "https://a/", "proxy_id": 1, "maxredirects": 0,
     "accepted_statuscodes_json": '["200-299", "300-399"]'},
    {"id": 15, "name": "Bad headers", "type": "http", "url": "https://a/", "headers": "{"},
    {"id": 16, "name": "Proxy off", "type": "http", "url": "https://a/", "proxy_id": 2, "accepted_statuscodes_json":
     '["200-399"]'},
    {"id": 17, "name": "Login", "type": "http", "url": "https://a/", "proxy_id": 3},
    {"id": 29, "name": "Orders", "type": "grpc-keyword", "grpc_url": "orders.example:50051", "keyword": "SERVING",
     "grpc_protobuf": "package grpc.health.v1;", "grpc_service_name": "Health", "grpc_method": "check",
     "grpc_body": '{"service": "shop.v1.Orders"}', "grpc_metadata": '{"x-api-key": "hidden"}', "grpc_enable_tls": 1},
    {"id": 30, "name": "Call", "type": "grpc-keyword", "grpc_url": "a:1", "grpc_service_name": "Echo",
     "grpc_method": "echo"},
    {"id": 31, "name": "Sick", "type": "grpc-keyword", "grpc_url": "a:1", "grpc_method": "Check",
     "grpc_service_name": "grpc.health.v1.Health", "keyword": "NOT_SERVING"},
    {"id": 32, "name": "Submission", "type": "smtp", "hostname": "mail.example", "port": 587,
     "smtp_security": "starttls"},
    {"id": 33, "name": "Submissions", "type": "smtp", "hostname": "mail.example", "port": 465,
     "smtp_security": "secure"},
    {"id": 34, "name": "Relay", "type": "smtp", "hostname": "mail.example", "port": 25,
     "smtp_security": "nostarttls"},
    {"id": 18, "name": "Socks", "type": "http", "url": "https://a/", "proxy_id": 4},
    {"id": 19, "name": "Query", "type": "json-query", "url": "https://a/", "json_path": "data[0].state",
     "expected_value": "up", "maxredirects": 3, "ip_family": "ipv4"},
    {"id": 20, "name": "Odd query", "type": "json-query", "url": "https://a/", "json_path": "$count(data)",
     "expected_value": "1"},
    {"id": 21, "name": "Contains", "type": "json-query", "url": "https://a/", "json_path": "$",
     "json_path_operator": "contains", "expected_value": "1"},
    {"id": 22, "name": "Posted", "type": "http", "url": "https://a/", "method": "POST", "body": "<a/>",
     "http_body_encoding": "xml", "maxredirects": 0},
    {"id": 23, "name": "Mtls", "type": "http", "url": "https://a/", "auth_method": "mtls"},
)  # fmt: skip


def test_monitors_of_uptime_kuma_are_carried_over(tmp_path: Path) -> None:
    targets = valid(uptime_kuma.read(database(tmp_path, *MONITORS)))
    assert list(targets) == [
        "Shop", "Page", "Mail", "Router", "MX", "Shop (2)", "Inverted", "Proxied", "Proxy off", "Query", "Posted",
        "Mtls", "Orders", "Submission", "Submissions", "Relay",
    ]  # fmt: skip
    assert targets["Proxied"]["spec"] == {
        "kind": "http", "url": "https://a/", "follow_redirects": False, "proxy": "http://[2001:db8::1]:3128"
    }  # fmt: skip
    assert targets["Proxy off"]["spec"] == {"kind": "http", "url": "https://a/"}
    assert targets["Shop"] == {
        "name": "Shop",
        "spec": {
            "kind": "http", "url": "https://shop.example/", "expected_status": [200, "301-302"],
            "headers": {"X-Api-Key": "secret:shop-x-api-key", "Accept": "*/*"},
            "username": "u", "password": "secret:shop-password",
        },
        "interval_seconds": 60, "timeout_seconds": 48.0, "failures": 3, "window": 3,
        "tags": ["env:prod", "a-b", "Shops"],
    }  # fmt: skip
    assert targets["Page"]["spec"] == {
        "kind": "http", "url": "https://a.example/", "body_contains": "welcome", "certificate_days": 0,
        "expected_status": ["2xx"], "verify_tls": False,
    }  # fmt: skip
    assert targets["Inverted"]["spec"]["body_excludes"] == "x"
    assert targets["Query"]["spec"] == {
        "kind": "http", "url": "https://a/", "expected_status": ["2xx"], "expected_json": ['$.data[0].state == "up"'],
        "max_redirects": 3, "ip_version": 4,
    }  # fmt: skip
    assert targets["Posted"]["spec"] == {
        "kind": "http", "url": "https://a/", "method": "POST", "body": "<a/>",
        "content_type": "text/xml; charset=utf-8", "expected_status": ["2xx"], "follow_redirects": False,
    }  # fmt: skip
    assert targets["Mtls"]["spec"]["client_certificate"] == "secret:mtls-certificate"
    assert targets["Page"]["enabled"] is False
    assert targets["Mail"]["spec"] == {"kind": "tcp", "host": "mail.example", "port": 25}
    assert "timeout_seconds" not in targets["Mail"]
    assert targets["Router"]["interval_seconds"] == 20
    assert targets["Orders"]["spec"] == {
        "kind": "grpc", "host": "orders.example", "port": 50051, "service": "shop.v1.Orders", "tls": True,
        "headers": {"x-api-key": "secret:orders-x-api-key"},
    }  # fmt: skip
    mail = {"kind": "tcp", "host": "mail.example"}
    assert targets["Submission"]["spec"] == mail | {"port": 587, "starttls": "smtp"}
    assert targets["Submissions"]["spec"] == mail | {"port": 465, "tls": True}
    assert targets["Relay"]["spec"] == mail | {"port": 25, "expect": "220"}
    assert targets["MX"]["spec"] == {"kind": "dns", "name": "example.org", "record": "MX", "resolver": "1.1.1.1"}


def test_what_uptime_kuma_has_and_cannot_be_carried_over_is_listed(tmp_path: Path) -> None:
    found = uptime_kuma.read(database(tmp_path, *MONITORS))
    assert losses(found, "") == ["2 rows of notification"]
    assert losses(found, "Shops") == ["the group"]
    assert losses(found, "Shop") == ["retry interval of 20 s"]
    assert losses(found, "Page") == []
    assert losses(found, "Shop (2)") == ["name 'Shop'", "description"]
    skipped = {each.target: each.why for each in found.losses if each.what.startswith("the monitor")}
    assert skipped == {
        "Down": "a reversed result is not supported",
        "Push": "monitors of the type push are not supported",
        "Docker": "monitors of the type docker are not supported",
        "PTR": "records of the type PTR are not supported",
        "Ntlm": "the authentication ntlm is not supported",
        "Login": "a proxy with a login is not supported",
        "Socks": "only proxies of the form http://host:port are supported",
        "Call": "only the call grpc.health.v1.Health/Check is supported",
        "Sick": "only the status SERVING is a success",
        "Bad headers": "its headers are not valid JSON",
        "Odd query": "its JSON query is more than a path and a comparison",
        "Contains": "the comparison contains of JSON values is not supported",
    }
    assert [each.name for each in found.secrets] == [
        "shop-x-api-key", "shop-password", "inverted-cookie", "mtls-certificate", "orders-x-api-key",
    ]  # fmt: skip
    assert "hidden" not in export.dump({"targets": found.targets}) + "".join(run.report(found))


def test_a_database_of_the_first_version_is_read(tmp_path: Path) -> None:
    columns = "id INTEGER PRIMARY KEY, name, active DEFAULT 1, interval, url, type, hostname, port, keyword, maxretries"
    path = database(tmp_path, {"name": "Old", "type": "http", "url": "https://a.example/", "interval": 20},
                    columns=columns)  # fmt: skip
    assert list(valid(uptime_kuma.read(path))) == ["Old"]


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database" * 100)
    sqlite3.connect(tmp_path / "empty.db").execute("CREATE TABLE a (b)").connection.close()
    for name in ("text", "empty.db", "missing", "."):
        with pytest.raises(ToolkitError, match="cannot read"):
            uptime_kuma.read(tmp_path / name)
    assert not (tmp_path / "missing").exists()


def test_an_import_is_written_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, written = tmp_path / "config.yaml", tmp_path / "targets.yml"
    source.write_text(GATUS)
    run.run(str(source), "", str(written), yes=False)
    shown = capsys.readouterr()
    assert len(targetfile.load(str(written)).targets) == 13
    assert "13 targets imported" in shown.err
    assert "secrets/targets/page-password" in shown.err
    run.run(str(source), "", "", yes=False)
    assert capsys.readouterr().out == written.read_text()
    written.write_text("mine")
    with pytest.raises(ToolkitError):
        run.run(str(source), "", str(written), yes=False)
    assert written.read_text() == "mine"


@pytest.mark.parametrize(("first", "second"), [("", ""), ("a", "b")])
def test_an_import_has_one_source(first: str, second: str) -> None:
    with pytest.raises(ToolkitError, match=r"nothing to import|two sources") as raised:
        run.run(first, second, "", yes=False)
    assert raised.value.code == 2


def test_names_that_a_terminal_would_interpret_are_printable() -> None:
    found = gatus.read(b'endpoints: [{name: "a\\eb", url: "icmp://a.example"}, {name: "", url: "icmp://b.example"}]')
    assert list(valid(found)) == ["a b", "unnamed"]
    assert "\x1b" not in "".join(run.report(found))
