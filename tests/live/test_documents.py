"""The examples of the documents, typed on a running stack."""

from __future__ import annotations

import re

import pytest
import requests

from tests.live.documents import answers, run, shown
from tests.live.stack import Stack, until


def test_a_probe_on_demand(stack: Stack) -> None:
    [probe] = answers(run(stack, shown(stack, "docs/operations.md", "sh", "/api/probes")))
    assert stack.result(probe["id"])["status"] == "succeeded"
    latest = stack.url(f"/api/targets/{probe['target']}/latest")
    until(lambda: requests.get(latest, timeout=5).status_code == 200, 10, "the latest state of the target")


def test_the_examples_of_the_api(stack: Stack) -> None:
    page = "docs/api.md"
    first, further = shown(stack, page, "sh", '"name"'), shown(stack, page, "sh", "target=")
    [statistics], [refused] = (answers(shown(stack, page, "json", word)) for word in ("uptime_percent", "about:blank"))

    added, listed = answers(run(stack, first))
    assert added["id"] in [each["id"] for each in listed]
    address = stack.url(f"/api/targets/{added['id']}")
    until(lambda: requests.get(address, timeout=5).json()["standing"]["state"] == "up", 20, "the target to be up")
    assert requests.patch(address, json={"enabled": False}, timeout=5).json() == refused

    access = first.splitlines()[0]
    probe, counted, paused = answers(run(stack, f"{access}\n{further.replace('ID', added['id'])}"))
    assert probe["target"] == added["id"]
    assert list(counted) == list(statistics)
    assert (counted["window"], counted["failed"], counted["uptime_percent"]) == ("1h", 0, 100)
    assert paused["enabled"] is False
    assert requests.get(address, timeout=5).status_code == 404, "the last command deletes it"


def test_the_tour(stack: Stack) -> None:
    """Its web server is named after the stack here: the name on the page can exist only once on a machine."""
    page, server = "docs/tour.md", f"{stack.name}-shop"

    def follow(words: str) -> str:
        return run(stack, shown(stack, page, "sh", words).replace("shop", server))

    def state() -> str:
        return str(requests.get(target, timeout=5).json()["standing"]["state"])

    def spans() -> set[str]:
        found = answers(follow("trace="))[0]["data"] or [{"spans": []}]
        return {span["operationName"] for span in found[0]["spans"]}

    follow("--name shop")
    [added] = answers(follow("/api/targets"))
    target = stack.url(f"/api/targets/{added['id']}")
    try:
        until(lambda: state() == "up", 20, "the target to be up")
        follow("docker stop")
        until(lambda: state() == "down", 30, "the target to be down")
        until(lambda: "active" in follow("amtool"), 30, "the alert")
        assert '"state": "down"' in follow("grep")
        if stack.store("traces") == "jaeger":
            until(lambda: spans() >= {"schedule", "probe", "process monitor.state"}, 15, "the trace")
    finally:
        requests.delete(target, headers=stack.authorization(), timeout=5)
        stack.docker("rm", "--force", server, check=False)
    until(lambda: "active" not in follow("amtool"), 30, "the alert to resolve")


@pytest.mark.parametrize(
    ("command", "answer"),
    [("exec db", r"\(1 row\)"), ("exec rabbitmq", r"^probes\t\d+$"), ("exec redis", r"^redis_version:")],
)
def test_a_command_inside_a_service(stack: Stack, command: str, answer: str) -> None:
    [line] = [line for line in shown(stack, "docs/operations.md", "sh", "exec redis").splitlines() if command in line]
    assert re.search(answer, run(stack, line), re.MULTILINE)
