"""Take the pictures of docs/status-page.md: `python -m docs.images.status_page` watches servers with its own stack.

It needs what `nox -s live` needs, the local images, and a browser, and takes a quarter of an hour.
"""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from tests.live import pipeline
from tests.live.browser import DESKTOP, PHONE, Visitor, chromium
from tests.live.stack import Stack, until

HERE = Path(__file__).resolve().parent
OVERVIEW = (1280, 640)
"""The window of the picture that README.md has too: half a screen of it."""
WEBSITES = {
    "Web shop": ("shop.example.org/", 0.084),
    "Web shop, checkout": ("shop.example.org/api/checkout", 0.19),
    "Customer API": ("api.example.org/v2/status", 0.041),
    "Identity provider": ("login.example.org/.well-known/jwks", 0.057),
    "Old wiki": ("wiki.example.org/", 0.02),
}
"""The websites, with the median of their latency in seconds."""
MAIL_PORT = 587
SERVICES: Mapping[str, dict[str, Any]] = {
    "Database, replica": {"kind": "tcp", "host": "db", "port": 5432},
    "Message queue": {"kind": "tcp", "host": "rabbitmq", "port": 5672},
    "Mail, submission": {"kind": "tcp", "host": "mailhost", "port": MAIL_PORT},
    "Name of the cache": {"kind": "dns", "name": "redis", "record": "A"},
    "Office gateway": {"kind": "ping", "host": "mailhost"},
}
TAGS = {"Web shop": ["shop", "web"], "Mail": ["mail"], "Customer API": ["shop"]}
"""The tags of targets by the first part of their names."""
EVENTFUL = "Customer API"
RESULTS = 170
"""Of each website: a quarter of an hour."""


def main() -> None:
    """Write status-page-*.png beside this file."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack.create(Path(folder) / "checkout", "netmon-pictures")
        try:
            stack.invoke("up", "--images=local")
            take(stack)
        finally:
            stack.destroy()


def take(stack: Stack) -> None:
    """Watch the servers, of which some fail, and take the pictures."""
    with ExitStack() as running:
        servers = {name: running.enter_context(pipeline.target_server(stack)) for name in WEBSITES}
        for name, (_, seconds) in WEBSITES.items():
            servers[name].delay = seconds
        gateway = str(urlsplit(servers[EVENTFUL].url).hostname)
        mail = running.enter_context(socket.create_server((gateway, MAIL_PORT), backlog=RESULTS))
        ids = {name: add(stack, name, website(name, servers[name].url)) for name in WEBSITES}
        ids |= {name: add(stack, name, spec | at(gateway, spec)) for name, spec in SERVICES.items()}
        change(stack, "PATCH", f"/targets/{ids['Old wiki']}", {"enabled": False})
        until(lambda: results(stack, ids[EVENTFUL]) >= RESULTS // 2, 900, "results")
        servers[EVENTFUL].status = 502
        until(lambda: pipeline.state(stack, ids[EVENTFUL]) == "down", 60, "an incident")
        servers[EVENTFUL].status = 200
        until(lambda: results(stack, ids[EVENTFUL]) >= RESULTS - 20, 900, "results")
        mail.close()
        servers["Web shop, checkout"].delay = 0.64
        now = datetime.now(UTC)
        for body in (
            {"name": "Upgrade of PostgreSQL", "target": ids["Database, replica"],
             "once": {"starts_at": str(now - timedelta(minutes=2)), "ends_at": str(now + timedelta(minutes=40))}},
            {"name": "Weekly release", "tag": "shop",
             "weekly": {"days": ["tue", "thu"], "start": "02:30", "minutes": 90, "timezone": "Europe/Berlin"}},
        ):  # fmt: skip
            change(stack, "POST", "/maintenance", body)
        until(lambda: pipeline.state(stack, ids["Web shop, checkout"]) == "degraded", 60, "a slow target")
        until(lambda: pipeline.state(stack, ids["Mail, submission"]) == "down", 60, "a target that is down")
        until(lambda: results(stack, ids[EVENTFUL]) >= RESULTS, 300, "results")
        time.sleep(10)
        with chromium() as browser:
            for picture, path, size, scheme in (
                ("light", "/", OVERVIEW, "light"),
                ("dark", f"/targets/{ids[EVENTFUL]}?span=1h", DESKTOP, "dark"),
                ("phone", "/", PHONE, "light"),
            ):
                page = Visitor(browser, stack.url(), size, scheme).see(path)
                page.wait_for_timeout(1000)
                page.screenshot(path=HERE / f"status-page-{picture}.png")


def website(name: str, server: str) -> dict[str, Any]:
    """The spec of a website, which a server of this machine answers for."""
    return {"kind": "http", "url": f"http://{WEBSITES[name][0]}", "connect_to": urlsplit(server).netloc}


def at(gateway: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """The address of the host for what it stands for."""
    return {"host": gateway} if spec.get("host") == "mailhost" else {}


def add(stack: Stack, name: str, spec: Mapping[str, Any]) -> str:
    """Add a target and return its id."""
    body = {"name": name, "spec": spec, "interval_seconds": 5, "timeout_seconds": 2, "retries": 0, "failures": 2,
            "window": 2, "slow_ms": 500, "tags": TAGS.get(name.partition(",")[0], [])}  # fmt: skip
    return str(change(stack, "POST", "/targets", body)["id"])


def change(stack: Stack, method: str, path: str, body: object) -> Any:
    """Make a request that changes something."""
    url, access = stack.url(f"/api{path}"), stack.authorization()
    answer = requests.request(method, url, json=body, headers=access, timeout=10)
    answer.raise_for_status()
    return answer.json()


def results(stack: Stack, target: str) -> int:
    """The number of results of a target."""
    return len(pipeline.probes(stack, target))


if __name__ == "__main__":
    main()
