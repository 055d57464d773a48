"""Imports from other monitors: what is carried over is valid, everything else is listed."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from netmon.models import TargetSettings
from toolkit.core.errors import ToolkitError
from toolkit.operate.targets import export, targetfile
from toolkit.operate.targets.importing import gatus, run, uptime_kuma
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
  - {name: secure, url: "starttls://a.example:25"}
  - {name: proxied, url: "https://a.example/", client: {proxy-url: "http://b"}, headers: {Cookie: hidden}}
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
        "core services/front", "page", "mail", "router", "dns", "core services/front (2)", "core services/backup",
        "agent",
    ]  # fmt: skip
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
        "headers": {"Authorization": "secret:page-authorization"},
    }  # fmt: skip
    assert targets["page"]["enabled"] is False
    assert targets["mail"]["spec"] == {"kind": "tcp", "host": "mail.example", "port": 25}
    assert targets["router"] == {
        "name": "router", "spec": {"kind": "ping", "host": "192.0.2.1"}, "interval_seconds": 5
    }  # fmt: skip
    assert targets["dns"]["spec"] == {
        "kind": "dns", "name": "example.org", "record": "A", "expected": ["93.184.216.34"]
    }  # fmt: skip
    assert targets["core services/backup"] == {
        "name": "core services/backup", "spec": {"kind": "heartbeat"}, "interval_seconds": 86400,
        "failures": 2, "window": 2, "tags": ["core-services"],
    }  # fmt: skip
    assert targets["agent"] == {
        "name": "agent", "spec": {"kind": "heartbeat"}, "interval_seconds": 30, "failures": 1, "window": 1,
        "enabled": False,
    }  # fmt: skip


def test_what_gatus_has_and_cannot_be_carried_over_is_listed() -> None:
    found = gatus.read(GATUS.encode())
    assert losses(found, "") == ["alerting"]
    assert losses(found, "core services/backup") == ["its URL"]
    assert losses(found, "agent") == ["its URL", "ui"]
    assert losses(found, "core services/front") == [
        "[RESPONSE_TIME] < 300", "[CERTIFICATE_EXPIRATION] > 49h", "alerts.send-on-resolved",
    ]  # fmt: skip
    assert losses(found, "page") == ["query of the URL", "len([BODY].items) > 0", "[BODY] == pat(a?b)"]
    assert losses(found, "router") == ["interval of 1 s"]
    assert losses(found, "dns") == ["name server 8.8.8.8"]
    assert losses(found, "core services/front (2)") == ["name 'core services/front'", "client.insecure", "ui"]
    skipped = {each.target: each.why for each in found.losses if each.what == "the endpoint"}
    assert skipped == {
        "posted": "a request body is not supported",
        "shell": "SSH is not supported",
        "secure": "starttls: only http, https, tcp, icmp and dns are supported",
        "proxied": "client.proxy-url is not supported",
        "odd": "tcp://a.example has no host and port",
        "pushed": "without heartbeat.interval, silence is no failure; here it always is",
    }
    assert [each.name for each in found.secrets] == ["core-services-front-authorization", "page-authorization"]
    assert "hidden" not in export.dump({"targets": found.targets}) + "".join(run.report(found))


@pytest.mark.parametrize(
    ("text", "expected"), [("1m", 60), ("1h30m", 5400), ("1.5s", 1.5), ("250ms", 0.25), ("60s", 60)]
)
def test_durations(text: str, expected: float) -> None:
    assert gatus.seconds(text) == expected


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"endpoints: {}", b"endpoints: [a]", b"external-endpoints: [a]", b"a: [", b"\xff", b"\x00"]
)
def test_a_file_without_endpoints_is_refused(content: bytes) -> None:
    with pytest.raises(ToolkitError, match=r"no endpoints|not valid YAML"):
        gatus.read(content)


COLUMNS = (
    "id INTEGER PRIMARY KEY, name, active DEFAULT 1, interval DEFAULT 60, url, type, hostname, port, keyword, "
    "maxretries DEFAULT 0, ignore_tls DEFAULT 0, upside_down DEFAULT 0, maxredirects DEFAULT 10, "
    "accepted_statuscodes_json DEFAULT '[\"200-299\"]', dns_resolve_type, dns_resolve_server, retry_interval DEFAULT 0,"
    " method DEFAULT 'GET', body, headers, basic_auth_user, basic_auth_pass, auth_method, proxy_id, "
    "push_token, expiry_notification DEFAULT 1, timeout DEFAULT 48, invert_keyword DEFAULT 0, parent, description"
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
    {"id": 9, "name": "Push", "type": "push", "interval": 300, "push_token": "hidden"},
    {"id": 10, "name": "Docker", "type": "docker"},
    {"id": 11, "name": "Inverted", "type": "keyword", "url": "https://a/", "keyword": "x", "invert_keyword": 1,
     "headers": '{"Cookie": "hidden"}'},
    {"id": 12, "name": "PTR", "type": "dns", "hostname": "example.org", "dns_resolve_type": "PTR"},
    {"id": 13, "name": "Ntlm", "type": "http", "url": "https://a/", "auth_method": "ntlm"},
    {"id": 14, "name": "Proxied", "type": "http", "url": "https://a/", "proxy_id": 1},
    {"id": 15, "name": "Bad headers", "type": "http", "url": "https://a/", "headers": "{"},
)  # fmt: skip


def test_monitors_of_uptime_kuma_are_carried_over(tmp_path: Path) -> None:
    targets = valid(uptime_kuma.read(database(tmp_path, *MONITORS)))
    assert list(targets) == ["Shop", "Page", "Mail", "Router", "MX", "Shop (2)", "Push"]
    assert targets["Shop"] == {
        "name": "Shop",
        "spec": {
            "kind": "http", "url": "https://shop.example/", "expected_status": [200, 301, 302],
            "headers": {
                "Authorization": "secret:shop-authorization", "X-Api-Key": "secret:shop-x-api-key", "Accept": "*/*",
            },
        },
        "interval_seconds": 60, "timeout_seconds": 48.0, "failures": 3, "window": 3,
        "tags": ["env:prod", "a-b", "Shops"],
    }  # fmt: skip
    assert targets["Page"]["spec"] == {
        "kind": "http", "url": "https://a.example/", "body_contains": "welcome", "certificate_days": 0
    }  # fmt: skip
    assert targets["Page"]["enabled"] is False
    assert targets["Mail"]["spec"] == {"kind": "tcp", "host": "mail.example", "port": 25}
    assert "timeout_seconds" not in targets["Mail"]
    assert targets["Router"]["interval_seconds"] == 20
    assert targets["Push"] == {
        "name": "Push", "spec": {"kind": "heartbeat"}, "interval_seconds": 300, "failures": 1, "window": 1
    }  # fmt: skip
    assert targets["MX"]["spec"] == {"kind": "dns", "name": "example.org", "record": "MX"}


def test_what_uptime_kuma_has_and_cannot_be_carried_over_is_listed(tmp_path: Path) -> None:
    found = uptime_kuma.read(database(tmp_path, *MONITORS))
    assert losses(found, "") == ["2 rows of notification"]
    assert losses(found, "Shops") == ["the group"]
    assert losses(found, "Push") == ["its URL"]
    assert losses(found, "Shop") == ["retry interval of 20 s"]
    assert losses(found, "Page") == ["accepted statuses 200-299", "ignore_tls"]
    assert losses(found, "Shop (2)") == ["name 'Shop'", "accepted statuses 200-299", "description"]
    skipped = {each.target: each.why for each in found.losses if each.what.startswith("the monitor")}
    assert skipped == {
        "Down": "a reversed result is not supported",
        "Docker": "monitors of the type docker are not supported",
        "Inverted": "a text that the body must not contain is not supported",
        "PTR": "records of the type PTR are not supported",
        "Ntlm": "the authentication ntlm is not supported",
        "Proxied": "proxies are not supported",
        "Bad headers": "its headers are not valid JSON",
    }
    assert [each.name for each in found.secrets] == ["shop-x-api-key", "shop-authorization"]
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
    assert len(targetfile.load(str(written)).targets) == 8
    assert "8 targets imported" in shown.err
    assert "secrets/targets/page-authorization" in shown.err
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
