"""Imports from Uptime Kuma: imported settings are valid, all others are listed."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.unit.toolkit.operate.targets.test_import import losses, valid
from toolkit.core.errors import ToolkitError
from toolkit.operate.targets import export
from toolkit.operate.targets.importing import run, uptime_kuma

COLUMNS = (
    "id INTEGER PRIMARY KEY, name, active DEFAULT 1, interval DEFAULT 60, url, type, hostname, port, keyword, "
    "maxretries DEFAULT 0, ignore_tls DEFAULT 0, upside_down DEFAULT 0, maxredirects DEFAULT 10, "
    "accepted_statuscodes_json DEFAULT '[\"200-299\"]', dns_resolve_type, dns_resolve_server, retry_interval DEFAULT 0,"
    " method DEFAULT 'GET', body, headers, basic_auth_user, basic_auth_pass, auth_method, proxy_id, "
    "push_token, expiry_notification DEFAULT 1, timeout DEFAULT 48, invert_keyword DEFAULT 0, parent, description, "
    "json_path, json_path_operator, expected_value, http_body_encoding, ip_family, tls_ca, "
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
    {"id": 9, "name": "Push", "type": "push", "interval": 300, "push_token": "hidden"},
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
        "Shop", "Page", "Mail", "Router", "MX", "Shop (2)", "Push", "Inverted", "Proxied", "Proxy off", "Query",
        "Posted", "Mtls", "Orders", "Submission", "Submissions", "Relay",
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
    assert targets["Push"] == {
        "name": "Push", "spec": {"kind": "heartbeat"}, "interval_seconds": 300, "failures": 1, "window": 1
    }  # fmt: skip
    assert targets["Orders"]["spec"] == {
        "kind": "grpc", "host": "orders.example", "port": 50051, "service": "shop.v1.Orders", "tls": True,
        "headers": {"x-api-key": "secret:orders-x-api-key"},
    }  # fmt: skip
    mail = {"kind": "tcp", "host": "mail.example"}
    assert targets["Submission"]["spec"] == mail | {"port": 587, "starttls": "smtp"}
    assert targets["Submissions"]["spec"] == mail | {"port": 465, "tls": True}
    assert targets["Relay"]["spec"] == mail | {"port": 25, "expect": "220"}
    assert targets["MX"]["spec"] == {"kind": "dns", "name": "example.org", "record": "MX", "resolver": "1.1.1.1"}


def test_settings_of_uptime_kuma_that_are_not_imported_are_listed(tmp_path: Path) -> None:
    found = uptime_kuma.read(database(tmp_path, *MONITORS))
    assert losses(found, "") == ["2 rows of notification"]
    assert losses(found, "Shops") == ["the group"]
    assert losses(found, "Push") == ["its URL"]
    assert losses(found, "Shop") == ["retry interval of 20 s"]
    assert losses(found, "Page") == []
    assert losses(found, "Shop (2)") == ["name 'Shop'", "description"]
    skipped = {each.target: each.why for each in found.losses if each.what.startswith("the monitor")}
    assert skipped == {
        "Down": "a reversed result is not supported",
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
