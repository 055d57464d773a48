"""The search for leaked secrets finds a planted secret in every place."""

from __future__ import annotations

import os
import re
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.live.leaks import PLACES, Report, find
from tests.live.needles import needles, secrets_of
from tests.live.stack import Stack, until
from toolkit.checkout.credentials import generate

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root sees every process's environment and every volume")

PLANT = "redis_password"
"""The secret that is planted."""

OVERRIDE = """\
services:
  planted:
    image: netmon-planted
    build:
      # Written in one layer, removed in the next.
      dockerfile_inline: |
        FROM {image}
        USER 0
        RUN mkdir /planted && echo {value} >/planted/file
        RUN rm -r /planted
        ENV IN_IMAGE={value}
      context: .
    user: "0:0"
    entrypoint: [sh, -c]
    command: ["echo {value} | tee /data/file /data/{value} >/written; exec tail -f /data/{value}"]
    environment:
      IN_ENVIRONMENT: {encoded}
    volumes:
      - planted_data:/data
    networks:
      - app-network
    labels:
      planted: {value}
    healthcheck:
      test: ["CMD", "sh", "-c", "sleep 0.2; true {quoted}"]
      interval: 2s

  db:
    environment:
      IN_DATABASE: {value}

volumes:
  planted_data:
"""
RULES = """\
groups:
  - name: planted
    rules:
      - record: planted
        expr: vector(1)
        labels: {{is: {}}}
"""
TARGETS = """\
scrape_configs:
  - job_name: planted
    static_configs:
      - targets: [localhost:1]
        labels: {{is: {}}}
"""

EXPECTED = {
    "docker inspect": (
        r"container .*Config\.Env", r"container .*Config\.Labels", r"container .*Config\.Cmd", r"image .*Config\.Env",
        r"history of netmon-planted",
    ),
    "processes": (r"cmdline of tail in", r"environ of tail in", r"cmdline of sh in", r"environ of initdb in"),
    "compose config": (r"services\.planted\.environment", r"services\.planted\.labels", "as YAML"),
    "container logs": (r"log of .*planted",),
    "engine log": ("log of the engine",),
    "image layers": (r"/planted/file in layer", r"of the images"),
    "APIs": (r"prometheus .*/rules", r"prometheus .*/targets$", r"prometheus .*/series", r"alertmanager .*/status"),
    "tasks": (r"invoke --echo config",),
    ".env": (r"\.env",),
    "files": (r"planted_data: file", r"name of .*planted_data", "written by .*: written", r"rules.*planted\.yml"),
}  # fmt: skip
"""The places where the planted value must be found, as patterns of their names."""


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Report]:
    """The report on a stack with a planted secret in every place."""
    stack = Stack.create(tmp_path_factory.mktemp("planted") / "checkout", "netmon-planted")
    try:
        # Not every generated value has a character that URLs may encode.
        (stack.root / f"secrets/{PLANT}.txt").write_text(f"{generate()}-_\n")
        stack.invoke("setup", "--profile=prod")
        stack.invoke("images.prepare", timeout=900)
        secrets = secrets_of(stack.root / "secrets")
        plant(stack, secrets[PLANT])
        # The processes of the database's first start are short-lived, so the search starts at the same time.
        stack.compose("create", "db")
        with subprocess.Popen(["docker", "start", stack.containers("db")[0]]):
            yield find(stack, needles(secrets), ["processes", *(place for place in PLACES if place != "processes")])
    finally:
        stack.destroy()
        stack.docker("rmi", "--force", "netmon-planted", check=False)


def plant(stack: Stack, value: str) -> None:
    """Put a value into every place, plain and encoded."""
    image = stack.compose("config", "--images", "redis").split()[0]
    encoded = b64encode(f"admin:{value}".encode()).decode()
    quoted = quote(value).replace("-", "%2D").replace("_", "%5F")
    override = OVERRIDE.format(image=image, value=value, encoded=encoded, quoted=quoted)
    (stack.root / "docker-compose.override.yml").write_text(override)
    monitoring = stack.root / "monitoring"
    (monitoring / "prometheus/rules/planted.yml").write_text(RULES.format(value))
    (monitoring / "prometheus/scrape/planted.yml").write_text(TARGETS.format(value))
    alertmanager = monitoring / "alertmanager/alertmanager.yml"
    alertmanager.write_text(alertmanager.read_text().replace("\nreceivers:\n", f"\nreceivers:\n  - name: {value}\n", 1))
    stack.invoke("setup")
    with (stack.root / ".env").open("a") as env:
        env.write(f"PLANTED={value}\n")
    stack.compose("up", "--detach", "--build", "--no-deps", "planted", "prometheus", "alertmanager", timeout=600)
    # The engine searches for a driver of this name, logs that, and would retry for a while.
    driver = ("docker", "volume", "create", "--driver", value, "planted")
    subprocess.run(["timeout", "3", *driver], capture_output=True, check=False)
    for address in ("prometheus:9090/api/v1/rules", "alertmanager:9093/api/v2/status"):
        service, _, path = address.partition(":")
        fetch = (service, "wget", "-q", "-O", "-", f"http://127.0.0.1:{path}")
        until(lambda fetch=fetch: value in stack.exec(*fetch, check=False), 60, f"the plant in {address}")  # type: ignore[misc]


@pytest.mark.parametrize(("kind", "place"), [(kind, place) for kind, places in EXPECTED.items() for place in places])
def test_a_planted_secret_is_found(planted: Report, kind: str, place: str) -> None:
    found = [leak for leak in planted.leaks if leak.kind == kind and leak.secret == PLANT]
    assert any(re.search(place, leak.place) for leak in found), f"\n{planted}"


def test_every_place_has_a_planted_secret() -> None:
    assert set(EXPECTED) == set(PLACES)


def test_every_form_is_found(planted: Report) -> None:
    forms = {leak.form.partition(",")[0] for leak in planted.leaks}
    assert forms == {"plain", "base64", "URL-encoded"}, f"\n{planted}"


def test_a_report_never_shows_a_value(planted: Report) -> None:
    assert str(planted)
    leaked = {leak.secret for leak in planted.leaks}
    assert leaked == {PLANT}, "another secret leaks"
