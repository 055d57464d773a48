"""The channels of alerts: what Alertmanager sends to each service, received here instead.

One Alertmanager with the project's configuration, in which only the addresses of the services are others. Pushover's
address cannot be changed, and mail is no HTTP: `nox -s validate` renders the texts of both.
"""

from __future__ import annotations

import base64
import http.server
import json
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs
from uuid import uuid4

import pytest
import requests
import yaml

from tests.live.host_receiver import HOST
from tests.live.stack import CHECKOUT, until
from toolkit.engine.compose import Docker
from toolkit.validate.checkout import Checkout
from toolkit.validate.examples import alertmanager_image

SECRETS = {
    "opsgenie_api_key": "opsgenie-key",
    "pagerduty_routing_key": "pagerduty-key",
    "telegram_bot_token": "1:telegram-token",
    "telegram_chat_id": "-100",
    "webex_token": "webex-token",
    "jira_user": "jira-user",
    "jira_token": "jira-token",
    "aws_credentials": "[default]\naws_access_key_id = sns-key\naws_secret_access_key = sns-secret",
}
"""The files of secrets/alertmanager besides those with addresses."""
ADDRESSES = ("webhook", "slack_api", "msteams_webhook", "discord_webhook")
"""The files with addresses, without `_url`."""
TITLE = "[FIRING critical] MonitoredTargetDown (targets): Orders is down"
TARGET_URL = "https://status.example.org/targets/a1"
TEXT = f"""\
FIRING since 2026-01-02 03:04:05 UTC: Orders is down
http://orders/: status 503.
Target: {TARGET_URL}
Dashboard: https://status.example.org/d
Runbook in the repository: docs/alerts/MonitoredTargetDown.md

"""
MARKDOWN = f"""\
**FIRING** since 2026-01-02 03:04:05 UTC: Orders is down

http://orders/: status 503.

[Target]({TARGET_URL}) [Dashboard](https://status.example.org/d) Runbook in the repository: \
docs/alerts/MonitoredTargetDown.md

"""
ALERT = {
    "labels": {"alertname": "MonitoredTargetDown", "service": "targets", "severity": "critical", "name": "Orders"},
    "annotations": {
        "summary": "Orders is down",
        "description": "http://orders/: status 503.",
        "target_url": TARGET_URL,
        "dashboard_url": "https://status.example.org/d",
        "runbook_url": "docs/alerts/MonitoredTargetDown.md",
    },
    "startsAt": "2026-01-02T03:04:05Z",
    "endsAt": "2100-01-01T00:00:00Z",
}
PUBLISHED = """\
<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">
<PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>"""
ANSWERS: Mapping[str, tuple[int, str]] = {
    "/jira/search/jql": (200, '{"issues": []}'),
    "/jira/issue": (201, '{"id": "1", "key": "EXAMPLE-1"}'),
    "/telegram/bot1:telegram-token/sendMessage": (
        200,
        '{"ok": true, "result": {"message_id": 1, "chat": {"id": -100}}}',
    ),
    "/opsgenie/v2/alerts": (202, "{}"),
    "/pagerduty": (202, '{"status": "success"}'),
    "/discord_webhook": (204, ""),
    "/sns/": (200, PUBLISHED),
}
"""What a service answers; the others `ok`."""


EXPECTED = {*ANSWERS, "/webex", *(f"/{name}" for name in ADDRESSES)}
"""The paths of all requests."""


class Received(NamedTuple):
    """A request of Alertmanager."""

    path: str
    headers: Mapping[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Services:
    """All services, on one port."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        received = self.requests

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                received.append(Received(self.path, dict(self.headers), body))
                status, answer = ANSWERS.get(self.path, (200, "ok"))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(answer.encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = http.server.ThreadingHTTPServer((HOST, 0), Handler)
        self.url = f"http://{HOST}:{self.server.server_port}"

    def to(self, path: str) -> Received:
        """The request to a path."""
        found = [each for each in self.requests if each.path == path]
        assert len(found) == 1, (path, [each.path for each in self.requests])
        return found[0]


def configuration(url: str) -> dict[str, Any]:
    """The project's configuration with the addresses of the services at a URL."""
    text = (CHECKOUT / "monitoring/alertmanager/alertmanager.yml").read_text()
    found: dict[str, Any] = yaml.safe_load(text)
    by_name = {receiver["name"]: receiver for receiver in found["receivers"]}
    for name, key in (("opsgenie", "api_url"), ("telegram", "api_url"), ("webex", "api_url"), ("jira", "api_url"),
                      ("sns", "api_url"), ("pagerduty", "url")):  # fmt: skip
        [channel] = by_name[name][f"{name}_configs"]
        channel[key] = f"{url}/{name}" + ("/" if name in ("opsgenie", "sns") else "")
    return found


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """The services, after Alertmanager has notified all of them of an alert."""
    services = Services()
    threading.Thread(target=services.server.serve_forever, daemon=True).start()
    folder, secrets = tmp_path_factory.mktemp("alertmanager"), tmp_path_factory.mktemp("secrets")
    files = SECRETS | {f"{name}_url": f"{services.url}/{name}" for name in ADDRESSES}
    for name, content in files.items():
        write(secrets / name, f"{content}\n")
    found = configuration(services.url)
    shutil.copytree(CHECKOUT / "monitoring/alertmanager/templates", folder / "templates")
    write(folder / "alertmanager.yml", yaml.safe_dump(found))
    notified = ",".join(receiver["name"] for receiver in found["receivers"])
    docker, name = Docker(CHECKOUT), f"netmon-channels-{uuid4().hex[:8]}"
    started = docker(
        "run", "--rm", "--detach", "--name", name, "--user=65534:65534",
        f"--volume={folder}:/etc/alertmanager:ro", f"--volume={secrets}:/etc/alertmanager-secrets:ro",
        "--env=AWS_SHARED_CREDENTIALS_FILE=/etc/alertmanager-secrets/aws_credentials", "--entrypoint=alertmanager",
        alertmanager_image(Checkout(CHECKOUT), docker), "--config.file=/etc/alertmanager/alertmanager.yml",
        "--storage.path=/tmp", "--cluster.listen-address=",
    )  # fmt: skip
    assert not started.code, started.stderr
    try:
        address = docker("inspect", "--format={{.NetworkSettings.IPAddress}}", name).stdout.strip()
        alerts = f"http://{address}:9093/api/v2/alerts"
        labels = {**ALERT["labels"], "notify": notified}  # type: ignore[dict-item]
        until(lambda: accepted(alerts, [{**ALERT, "labels": labels}]), 10, "Alertmanager to accept the alert")
        try:
            until(lambda: {each.path for each in services.requests} >= EXPECTED, 10, "all notifications")
        except AssertionError:
            print([each.path for each in services.requests], docker("logs", name).stderr)
            raise
        yield services
    finally:
        docker("rm", "--force", name)
        services.server.shutdown()
        services.server.server_close()


def write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o644)
    path.parent.chmod(0o755)


def accepted(url: str, alerts: object) -> bool:
    try:
        return requests.post(url, json=alerts, timeout=2).ok
    except requests.ConnectionError:
        return False


def test_teams(services: Services) -> None:
    [attachment] = services.to("/msteams_webhook").json["attachments"]
    shown = [each["text"] for each in attachment["content"]["body"]]
    assert shown == [TITLE, MARKDOWN]


def test_discord(services: Services) -> None:
    [embed] = services.to("/discord_webhook").json["embeds"]
    assert (embed["title"], embed["description"]) == (TITLE, MARKDOWN)


def test_telegram(services: Services) -> None:
    sent = services.to("/telegram/bot1:telegram-token/sendMessage").json
    assert (str(sent["chat_id"]), sent["text"]) == ("-100", f"{TITLE}\n\n{TEXT}")
    assert not sent.get("parse_mode")


def test_webex(services: Services) -> None:
    request = services.to("/webex")
    assert request.headers["Authorization"] == "Bearer webex-token"
    assert request.json == {"markdown": f"**{TITLE}**\n\n{MARKDOWN}", "roomId": "example-room-id"}


def test_opsgenie(services: Services) -> None:
    request = services.to("/opsgenie/v2/alerts")
    assert request.headers["Authorization"] == "GenieKey opsgenie-key"
    sent = request.json
    assert (sent["message"], sent["description"], sent["source"]) == (TITLE, TEXT, TARGET_URL)
    assert (sent["priority"], sent["tags"]) == ("P1", ["targets", "critical"])


def test_jira(services: Services) -> None:
    request = services.to("/jira/issue")
    assert request.headers["Authorization"] == f"Basic {base64.b64encode(b'jira-user:jira-token').decode()}"
    fields = request.json["fields"]
    assert (fields["project"]["key"], fields["issuetype"]["name"], fields["summary"]) == ("EXAMPLE", "Task", TITLE)
    assert {"network-monitor", "targets"} <= set(fields["labels"])
    assert TARGET_URL in json.dumps(fields["description"])


def test_sns(services: Services) -> None:
    request = services.to("/sns/")
    assert "Credential=sns-key/" in request.headers["Authorization"]
    sent = parse_qs(request.body)
    assert (sent["Action"], sent["Subject"], sent["Message"]) == (["Publish"], [TITLE], [TEXT])


def test_channels_that_were_there_before(services: Services) -> None:
    assert services.to("/webhook").json["alerts"][0]["labels"]["name"] == "Orders"
    [attachment] = services.to("/slack_api").json["attachments"]
    assert (attachment["title"], attachment["title_link"]) == (TITLE, TARGET_URL)
    assert services.to("/pagerduty").json["payload"]["summary"] == TITLE
