"""Imports from other monitors: imported settings are valid, all others are listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from netmon.conditions import StatusRange
from netmon.target_models import TargetSettings
from tests.unit.app.properties import PROPERTY
from toolkit.core.errors import ToolkitError
from toolkit.operate.targets import export, targetfile
from toolkit.operate.targets.importing import checks, durations, gatus, imported, run
from toolkit.operate.targets.importing.imported import Imported

GATUS = """\
alerting: {slack: {webhook-url: "https://hooks.example/hidden"}}
external-endpoints:
  - {name: backup, group: core services, token: hidden, heartbeat: {interval: 24h}, alerts: [{failure-threshold: 2}]}
  - {name: agent, token: hidden, heartbeat: {interval: 30s}, ui: {hide-url: true}, enabled: false}
  - {name: pushed, token: hidden}
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
        "orders", "public orders", "proxied", "core services/front (2)", "core services/backup", "agent",
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
    assert targets["core services/backup"] == {
        "name": "core services/backup", "spec": {"kind": "heartbeat"}, "interval_seconds": 86400,
        "failures": 2, "window": 2, "tags": ["core-services"],
    }  # fmt: skip
    assert targets["agent"] == {
        "name": "agent", "spec": {"kind": "heartbeat"}, "interval_seconds": 30, "failures": 1, "window": 1,
        "enabled": False,
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


def test_settings_of_gatus_that_are_not_imported_are_listed() -> None:
    found = gatus.read(GATUS.encode())
    assert losses(found, "") == ["alerting"]
    assert losses(found, "core services/backup") == ["its URL"]
    assert losses(found, "agent") == ["its URL", "ui"]
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
        "pushed": "without heartbeat.interval, silence is no failure; here it always is",
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


@pytest.mark.parametrize(
    ("url", "carried_over"),
    [("tls://a:1", True), ("starttls://a:1", True), ("grpcs://a:1", True), ("tcp://a:1", False), ("grpc://a:1", False)],
)
def test_certificates_that_gatus_does_not_verify_are_not_verified(url: str, carried_over: bool) -> None:
    endpoint = {"name": "a", "url": url, "client": {"insecure": True}}
    found = gatus.read(export.dump({"endpoints": [endpoint]}).encode())
    assert (valid(found)["a"]["spec"].get("verify_tls") is False) is carried_over
    assert losses(found, "a") == []


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
    assert durations.seconds(text) == expected


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"endpoints: {}", b"endpoints: [a]", b"external-endpoints: [a]", b"a: [", b"\xff", b"\x00"]
)
def test_a_file_without_endpoints_is_refused(content: bytes) -> None:
    with pytest.raises(ToolkitError, match=r"no endpoints|not valid YAML"):
        gatus.read(content)


def test_an_import_is_written_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, written = tmp_path / "config.yaml", tmp_path / "targets.yml"
    source.write_text(GATUS)
    run.run(str(source), "", str(written), yes=False)
    shown = capsys.readouterr()
    assert len(targetfile.load(str(written)).targets) == 15
    assert "15 targets imported" in shown.err
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
